# SPDX-License-Identifier: MIT
"""Tests of events.py: lines that are right, and then lines of which one is wrong in one thing."""
import sys

import events
from selftests import selftest

suite = selftest.Suite("events")
THEFT = {"name": "unmap_stolen", "others": 1, "stolen_us": 10000, "n": 5, "marked": 5, "early": 0, "kept": 0, "max": 0,
         "pending_max": 64}
BYSTANDER = {"table_free": "rcu", "ops": 50, "ipis": 0, "resched": 3, "called": 0, "switches": 0, "slices": 2}


def theft(policy, flush):
    """A line as it should be under that pair."""
    holds = (policy, flush) in events.HOLDING or events.defers(policy, flush)
    early = holds or (policy, flush) in events.SPARING
    return THEFT | {"table_free": policy, "tlb_flush": flush, "early": 5 * early, "kept": 5 * holds}


@suite.test
def thefts_that_contradict_a_claim_are_noticed():
    def complaints(pair=None, **keys):
        return list(events.stolen_errors([theft(*p) | (keys if p == pair else {}) for p in events.LEAST]))

    wrong = complaints() + list(events.stolen_errors([theft(*pair) for pair in (*events.LEAST, ("rcu", "nmi"))]))
    early = list(events.stolen_errors([theft(*pair) for pair in events.LEAST] + [theft("rcu", "nmi") | {"early": 1}]))
    wrong += [] if len(early) == 1 and "must wait" in early[0] else [f"rcu + nmi, early: {early}"]
    for policy, flush, keys, said in (
            ("rcu", "pv", {"marked": 4}, "not preempted"), ("rcu", "ipi", {"marked": 0}, "not preempted"),
            ("rcu", "pv", {"early": 4}, "1 of 5 first unmaps have waited"), ("hazard", "pv", {"early": 0}, "need not"),
            ("rcu", "lazy", {"early": 4, "kept": 4}, "need not"), ("rcu", "pv", {"kept": 4}, "was freed before"),
            ("auto", "pv", {"early": 1}, "must wait"), ("rcu", "ipi", {"early": 1}, "must wait"), ("targeted", "pv", {"early": 2}, "must wait"),
            ("rcu", "pv", {"name": "pages_held", "max": 65}, "pending_max is 64"),
            ("ipi", "ipi", {"name": "pages_held", "max": 1}, "frees what it has unlinked"),
            ("rcu", "pv", {"name": "unmap_page"}, "no preemption under rcu + pv"),
            ("rcu", "pv", {"stolen_us": 0}, "no preemption under rcu + pv")):
        found = complaints((policy, flush), **keys)
        if not any(said in text for text in found):
            wrong.append(f"{policy} + {flush}, {keys}: {found}")
    return wrong


@suite.test
def waits_that_contradict_what_the_flush_proved_are_noticed():
    wrong = []
    for right, policy, flush, keys in (
            (True, "targeted", "ipi", (900, 900)), (False, "targeted", "ipi", (900, 901)),
            (True, "targeted", "nmi", (900, 0)), (False, "targeted", "nmi", (900, 1)), (True, "auto", "ipi", (0, 0)),
            (False, "auto", "ipi", (1, 0)), (False, "auto", "lazy", (1, 0)), (True, "auto", "nmi", (900, 0)),
            (True, "auto", "ipi", (900, 0, {"remote": 1})), (False, "targeted", "ipi", (900, 1, {"remote": 1})),
            (False, "ipi", "ipi", (1, 0)), (True, "targeted", "pv", (1000, 0, {"stolen_us": 10_000})),
            (False, "auto", "pv", (900, 0, {"stolen_us": 10_000})),
            (False, "targeted", "pv", (1, 0, {"stolen_us": 10_000, "walkers": 0}))):
        awaited, proved, *more = keys
        line = {"name": "unmap_walked", "table_free": policy, "tlb_flush": flush, "walkers": 1, "remote": 0,
                "stolen_us": 0, "walkers_awaited_per_1000": awaited, "walkers_proved_per_1000": proved}
        found = list(events.waits_errors([line | (more[0] if more else {})]))
        if bool(found) == right:
            wrong.append(f"{policy} + {flush}, {keys}: {found}")
    return wrong


@suite.test
def a_policy_that_acts_first_defers_no_flush():
    """So a bystander is interrupted although the back-end would defer."""
    item = BYSTANDER | {"name": "bystander", "table_free": "rcu-proxy", "tlb_flush": "lazy", "ipis": 50}
    return [*events.bystander_errors([item])]


@suite.test
def interrupts_that_nobody_sent_are_noticed():
    wrong = []
    for right, name, flush, keys in (
            (True, "bystander", "ipi", {"ipis": 48}), (False, "bystander", "ipi", {"ipis": 47}),
            (True, "bystander", "-", {"table_free": "-", "ops": 0, "ipis": 3}),
            (True, "bystander", "nmi", {"ipis": 48}), (False, "bystander", "nmi", {"ipis": 47}),
            (True, "bystander", "ipi", {"ipis": 40, "switches": 1}), (True, "bystander", "ipi", {"ipis": 55}),
            (False, "bystander", "ipi", {"ipis": 56}), (False, "bystander", "lazy", {"ipis": 4}),
            (True, "bystander", "lazy", {"ipis": 4, "called": 1}), (True, "bystander_lazy", "nmi", {"ipis": 55}),
            (True, "bystander_lazy", "ipi", {"ipis": 5}), (False, "bystander_lazy", "ipi", {"ipis": 6}),
            (True, "bystander_elsewhere", "ipi", {"ipis": 3}), (False, "bystander_elsewhere", "ipi", {"ipis": 4})):
        found = list(events.bystander_errors([BYSTANDER | {"name": name, "tlb_flush": flush} | keys]))
        if bool(found) == right:
            wrong.append(f"{name} under {flush}, {keys}: {found}")
    return wrong


if __name__ == "__main__":
    sys.exit(selftest.main(suite))
