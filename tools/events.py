# SPDX-License-Identifier: MIT
"""What must hold of the BENCH lines of preemptions by the thief (tests/bench/stolen.c, until_free.c), of bystanders
(tests/bench/bystander.c) and of unmaps under walkers (tests/bench/unmap.c), however busy the host is: the order of
events, and counts, as the kernel has recorded them. Times are shown, not judged."""
import axes

INTERRUPTING = ("ipi", "nmi")  # they interrupt each CPU that runs in the space, for each unmap
LEFT_BY_LAZY = ("ipi", "pv", "hyperv", "xen", "lazy")  # a CPU in lazy TLB mode leaves the space when it is interrupted


def defers(policy, flush):
    """Is the flush of freed tables left to later? Not under a policy that acts before it. ("-": nobody unmaps)"""
    return flush != "-" and "defer" in axes.backends()[flush].fields and "begin" not in axes.policies()[policy].fields


def bystander_errors(bench):
    """How many interrupts a CPU may receive for another CPU's unmaps. A CPU elsewhere: none. A CPU in lazy TLB mode:
    one in each slice, because it then leaves the space (but an NMI does not make it leave). A CPU that runs in the
    space: one for each unmap, fewer if it was switched away from, none if the flush is deferred. Beside these it
    receives others: `resched`, and at most `called`. A slice begins and ends in the middle of an unmap. With a back-end
    that is not named here, a CPU receives at most one for each unmap."""
    for b in bench:
        if not b["name"].startswith("bystander"):
            continue
        ipis, ops, flush, slices = b["ipis"], b["ops"], b["tlb_flush"], b["slices"]
        most = {"bystander": 0 if defers(b["table_free"], flush) else ops + slices, "bystander_elsewhere": 0,
                "bystander_lazy": slices if flush in LEFT_BY_LAZY else ops + slices}[b["name"]] + b["resched"] + b["called"]
        least = ops - slices if b["name"] == "bystander" and flush in INTERRUPTING and not b["switches"] else 0
        if not least <= ipis <= most:
            yield f"{b['name']} under {b['table_free']} + {flush}: {ipis} IPIs, {ops} unmaps, {b['resched']} to " \
                  f"reschedule, {b['called']} to sweep, {slices} slices"


# When the first unmap returns while the thief has preempted a CPU in the middle of a walk: what is claimed of these
# pairs (docs/policies.md). Nothing is claimed here of other pairs.
HOLDING = {(policy, "pv") for policy in ("rcu", "rcu-sync", "rcu-page")}  # at once; what it unlinked is held
SPARING = {("hazard", "pv")}  # at once
WAITING = {("targeted", "pv"), ("auto", "pv")}  # after the preemption: it waits for that walk
LEAST = HOLDING | SPARING | WAITING | {("ipi", "ipi"), ("rcu", "ipi"), ("rcu", "lazy")}  # measured on any host


def theft_errors(b):
    """What is wrong with one line of preemptions, by the order of events that the kernel has recorded, without a
    clock."""
    pair, n = (b["table_free"], b["tlb_flush"]), b["n"]
    holds = pair in HOLDING or defers(*pair)
    waits = pair in WAITING or b["tlb_flush"] in INTERRUPTING
    if b["marked"] != n:
        yield f"in {n - b['marked']} of {n} the CPU was not preempted when the first unmap began"
    if waits and b["early"]:
        yield f"{b['early']} of {n} first unmaps have returned before the CPU ran again, though they must wait for it"
    if (holds or pair in SPARING) and b["early"] != n:
        yield f"{n - b['early']} of {n} first unmaps have waited for the CPU, though they need not"
    if holds and b["kept"] != n:
        yield f"in {n - b['kept']} of {n} something unlinked during the preemption was freed before the CPU ran again"


def stolen_errors(bench):
    """Each preemption began and ended where it should; an unmap that must wait for the CPU has waited, and one that
    need not has not; held pages stay within their bound, and none is held where the flush is the only wait."""
    for b in (b for b in bench if b["name"] in ("unmap_stolen", "unmap_longest", "pages_held") and b["others"]):
        where = f"{b['name']} under {b['table_free']} + {b['tlb_flush']}, {b['stolen_us']} us"
        if b["stolen_us"]:
            yield from (f"{where}: {text}" for text in theft_errors(b))
        if b["name"] == "pages_held" and b["max"] > b["pending_max"]:
            yield f"{where}: {b['max']} pages held, pending_max is {b['pending_max']}"
        if b["name"] == "pages_held" and (b["table_free"], b["tlb_flush"]) == ("ipi", "ipi") and b["max"]:
            yield f"{where}: {b['max']} pages held, though each unmap frees what it has unlinked"
    stolen = {(b["table_free"], b["tlb_flush"]) for b in bench if b["name"] == "unmap_stolen" and b["stolen_us"]}
    yield from (f"no preemption under {policy} + {flush}" for policy, flush in sorted(LEAST - stolen))


def waits_errors(bench):
    """Whom an unmap has waited for by the policy's own means. Under WAITING each unmap for the walk that is preempted,
    and for nobody if that CPU is outside any walk. A CPU that the flush has proved is in vain waited for; a back-end
    that reports nobody proves nobody, nor does a flush that does not go to a walker. A policy that waits for the rest
    waits for nobody where the flush has proved each CPU that has the space loaded."""
    for b in (b for b in bench if b["name"] in ("unmap_walked", "until_unmapped") and b["table_free"] != "-"):
        policy, back = axes.policies()[b["table_free"]].fields, axes.backends()[b["tlb_flush"]].fields
        awaited, proved = b["walkers_awaited_per_1000"], b["walkers_proved_per_1000"]
        reports = back.get("reports") == "true" and not b["remote"]
        rest = policy["waits"] == "WAIT_REST" and reports and back.get("proves_irqs_off_walks_ended") == "true"
        where = f"{b['name']} under {b['table_free']} + {b['tlb_flush']}, walkers={b['walkers']} remote={b['remote']} " \
                f"stolen_us={b['stolen_us']}: "
        if proved > (awaited if reports else 0):
            yield f"{where}{proved} walkers were proved of {awaited}"
        if (rest or policy["waits"] == "WAIT_FLUSH") and awaited:
            yield f"{where}{awaited} walkers were waited for, though the flush had proved each"
        if b["stolen_us"] and (b["table_free"], b["tlb_flush"]) in WAITING and awaited != 1000 * b["walkers"]:
            yield f"{where}{awaited} walkers were waited for, not {1000 * b['walkers']}"
