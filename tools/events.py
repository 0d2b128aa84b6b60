# SPDX-License-Identifier: MIT
"""What must hold of the BENCH lines of thefts (tests/bench/stolen.c) and bystanders (tests/bench/bystander.c), however
busy the host: the order of events and counts that the kernel has noted. How long anything took is told, not judged."""


INTERRUPTING = ("ipi", "nmi")  # each CPU that runs in the space, for each unmap
LEFT_BY_LAZY = ("ipi", "pv", "hyperv", "lazy")  # a CPU that holds the space lazily leaves it when it is interrupted


def bystander_errors(bench):
    """Who receives how many interrupts for the unmaps of another CPU: nobody elsewhere; one that holds the space lazily
    one, when it leaves (but NMIs do not make it leave); one that runs there each, unless it was switched away from, or
    none where they are deferred. Beside those it takes others: `resched`, and no more than `called`. A slice begins and
    ends in the middle of an unmap. Of a back-end that is not named here: no more than one for each unmap."""
    for b in bench:
        if not b["name"].startswith("bystander"):
            continue
        ipis, ops, flush, slices = b["ipis"], b["ops"], b["tlb_flush"], b["slices"]
        most = {"bystander": 0 if flush == "lazy" else ops + slices, "bystander_elsewhere": 0,
                "bystander_lazy": slices if flush in LEFT_BY_LAZY else ops + slices}[b["name"]] + b["resched"] + b["called"]
        least = ops - slices if b["name"] == "bystander" and flush in INTERRUPTING and not b["switches"] else 0
        if not least <= ipis <= most:
            yield f"{b['name']} under {b['table_free']} + {flush}: {ipis} IPIs, {ops} unmaps, {b['resched']} to " \
                  f"reschedule, {b['called']} to sweep, {slices} slices"


# How the first unmap ends during a theft in the middle of a walk: by what is claimed of the pair (docs/policies.md).
# Nothing is claimed here of another pair.
HOLDING = {(policy, "pv") for policy in ("rcu", "rcu-sync", "rcu-page")}  # at once; what it unlinked waits
SPARING = {("hazard", "pv")}  # at once
WAITING = {("targeted", "pv")}  # with the theft: it waits for that walk
LEAST = HOLDING | SPARING | WAITING | {("ipi", "ipi"), ("rcu", "ipi"), ("rcu", "lazy")}  # measured on any host


def theft_errors(b):
    """Of one line with thefts, by the order of events that the kernel has noted: no clock has a part in it."""
    pair, n = (b["table_free"], b["tlb_flush"]), b["n"]
    holds = pair in HOLDING or b["tlb_flush"] == "lazy"
    waits = pair in WAITING or b["tlb_flush"] in INTERRUPTING
    if b["marked"] != n:
        yield f"in {n - b['marked']} of {n} the CPU was not away yet, or no more, when the first unmap began"
    if waits and b["early"]:
        yield f"{b['early']} of {n} first unmaps have returned before the CPU was back, though they must wait for it"
    if (holds or pair in SPARING) and b["early"] != n:
        yield f"{n - b['early']} of {n} first unmaps have waited for the CPU, though they need not"
    if holds and b["kept"] != n:
        yield f"in {n - b['kept']} of {n} something unlinked during the theft was freed before the CPU was back"


def stolen_errors(bench):
    """Thefts began and ended where they should; who must wait has waited, who need not has not; what is held stays
    within its bound, and nothing is held where the flush is the only wait. How long it took is told, not judged."""
    for b in (b for b in bench if b["name"] in ("unmap_stolen", "unmap_longest", "pages_held") and b["others"]):
        where = f"{b['name']} under {b['table_free']} + {b['tlb_flush']}, {b['stolen_us']} us"
        if b["stolen_us"]:
            yield from (f"{where}: {text}" for text in theft_errors(b))
        if b["name"] == "pages_held" and b["max"] > b["pending_max"]:
            yield f"{where}: {b['max']} pages held, pending_max is {b['pending_max']}"
        if b["name"] == "pages_held" and (b["table_free"], b["tlb_flush"]) == ("ipi", "ipi") and b["max"]:
            yield f"{where}: {b['max']} pages held, though each unmap frees what it has unlinked"
    stolen = {(b["table_free"], b["tlb_flush"]) for b in bench if b["name"] == "unmap_stolen" and b["stolen_us"]}
    yield from (f"no theft under {policy} + {flush}" for policy, flush in sorted(LEAST - stolen))
