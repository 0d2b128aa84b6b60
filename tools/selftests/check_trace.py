# SPDX-License-Identifier: MIT
"""Tests of tracecheck.py and trace.py: a right scene passes, and whatever is then broken in it is noticed and named. With
the argument "log": what the configuration `trace` has recorded, after it."""
import collections
import json
import sys

import results
import trace
import tracecheck
from selftests import selftest

suite = selftest.Suite("trace-tools")
TABLE = 0x1fa00001

# One unmap under rcu with ipi: CPU 0 unmaps, CPU 1 walks. (cpu, ns, event, phase, arg)
SCENE = [
    (1, 0, "walk", "B", 64), (0, 10, "unmap", "B", 64), (0, 20, "table_unlinked", "i", TABLE), (1, 25, "walk", "E", 1),
    (0, 30, "flush", "B", 64), (0, 40, "ipi_sent", "i", 1), (1, 50, "ipi", "B", 0), (1, 60, "ipi_acked", "i", 0),
    (1, 65, "ipi", "E", 0), (0, 70, "flush", "E", 0), (0, 80, "table_flushed", "i", TABLE), (0, 90, "unmap", "E", 0),
    (1, 100, "grace_period", "B", 3), (1, 105, "walk", "B", 64), (1, 110, "walk", "E", 1), (1, 115, "quiescent", "i", 0),
    (0, 120, "grace_period", "E", 3), (0, 130, "table_quiesced", "i", TABLE), (0, 140, "table_freed", "i", TABLE),
]


def events(rows, table_free="rcu", tlb_flush="ipi"):
    return [{"v": 1, "scene": "unmap", "table_free": table_free, "tlb_flush": tlb_flush, "cpu": cpu, "ns": ns, "event": event,
             "ph": phase, "arg": arg} for cpu, ns, event, phase, arg in rows]


def without(event, phase=None):
    return [row for row in SCENE if row[2] != event or phase not in (None, row[3])]


def moved(event, phase, ns):
    """The scene with that event at another time, and so at another place."""
    return sorted(((cpu, ns if (name, ph) == (event, phase) else at, name, ph, arg) for cpu, at, name, ph, arg in SCENE),
                  key=lambda row: row[1])


def replaced(old, new):
    """The same order with one kind of event for another."""
    return [(cpu, ns, new if name == old else name, phase, arg) for cpu, ns, name, phase, arg in SCENE]


@suite.test
def right_scene_passes():
    return tracecheck.check(events(SCENE)) + tracecheck.check(events(SCENE, "hazard"))


@suite.test
def broken_scenes_are_noticed():
    back = [(cpu, 5 if (name, phase) == ("flush", "E") else ns, name, phase, arg) for cpu, ns, name, phase, arg in SCENE]
    cases = {
        "nothing": ([], "no events"),
        "no end": (without("flush", "E"), "flush on CPU 0 begins"),
        "no beginning": (without("unmap", "B"), "unmap ends on CPU 0 at 90 ns without a beginning"),
        "crossed": (moved("unmap", "E", 35), "unmap ends on CPU 0 at 35 ns inside flush"),
        "no end of a grace period": (without("grace_period", "E"), "grace_period on CPU 1 begins"),
        "unknown phase": ([(0, 1, "unmap", "X", 0)], "unknown phase"),
        "time goes back": (back, "the clock of CPU 0 goes back"),
        "received unsent": (without("ipi_sent"), "ipi received on CPU 1 at 50 ns before it was sent"),
        "received before sent": (moved("ipi_sent", "i", 55), "ipi received on CPU 1 at 50 ns before it was sent"),
        "not acknowledged": (without("ipi_acked"), "not acknowledged by CPU 1"),
        "acknowledged too late": (moved("flush", "E", 55), "not acknowledged by CPU 1"),
        "flushed before the flush": (moved("table_flushed", "i", 65), "before a flush has ended"),
        "no flush": ([row for row in SCENE if row[2] != "flush"], "before a flush has ended"),
        "freed before quiesced": (moved("table_freed", "i", 125), "table_freed at 125 ns, not after table_quiesced"),
        "quiesced before flushed": (moved("table_quiesced", "i", 75), "table_quiesced at 75 ns, not after table_flushed"),
        "not freed": (without("table_freed"), "is not freed"),
        "freed twice": (SCENE + [(0, 150, "table_freed", "i", TABLE)], "not after table_quiesced"),
        "unlinked twice": (SCENE[:3] + SCENE[2:], "is unlinked twice"),
        "no grace period": (without("grace_period"), "without a grace period"),
        "grace period too early": (moved("grace_period", "B", 15), "without a grace period"),
        "grace period too late": (moved("grace_period", "E", 135), "without a grace period"),
    }
    wrong = []
    for name, (rows, part) in cases.items():
        problems = tracecheck.check(events(rows))
        if not any(part in text for text in problems):
            wrong.append(f"{name}: {problems}")
    return wrong


@suite.test
def older_walk_that_goes_on_is_noticed():
    rows = [row for row in SCENE if row[2] not in ("walk", "ipi", "ipi_sent", "ipi_acked")]
    rows = [(1, 0, "walk", "B", 64)] + rows + [(1, 150, "walk", "E", 1)]
    noticed = [any("older walk" in text for text in tracecheck.check(events(rows, policy))) for policy in ("rcu", "ipi", "hazard")]
    return [] if noticed == [True, True, False] else [f"{noticed}"]


@suite.test
def targeted_waits_for_the_answer_to_its_sync_ipi():
    sync = [(0, 85, "ipi_sent", "i", 1), (1, 86, "ipi", "B", 0), (1, 88, "ipi", "E", 0)]

    def noticed(policy, *answers):
        rows = sorted(SCENE + sync + [(1, ns, "ipi_acked", "i", 0) for ns in answers], key=lambda row: row[1])
        return any("quiescent at 130 ns, not acknowledged" in text for text in tracecheck.check(events(rows, policy)))
    found = [noticed("targeted", 87), noticed("targeted"), noticed("targeted", 135), noticed("hazard")]
    return [] if found == [False, True, True, False] else [f"{found}"]


@suite.test
def flush_left_to_sweeps_needs_a_sweep():
    rows = [(0, 70, "flush", "E", 1) if row[2:4] == ("flush", "E") else row for row in SCENE]
    swept = sorted(rows + [(1, 75, "sweep", "i", 1)], key=lambda row: row[1])
    late = sorted(rows + [(1, 85, "sweep", "i", 1)], key=lambda row: row[1])
    found = [any("swept" in text for text in tracecheck.check(events(r, tlb_flush="lazy"))) for r in (rows, swept, late)]
    return [] if found == [True, False, True] else [f"{found}"]


@suite.test
def flush_left_to_sweeps_may_end_after_them():
    """Others sweep and complete it before its CPU goes on."""
    rows = [(0, 88, "flush", "E", 1) if row[2:4] == ("flush", "E") else row for row in SCENE] + [(1, 75, "sweep", "i", 1)]
    return tracecheck.check(events(sorted(rows, key=lambda row: row[1]), tlb_flush="lazy"))


@suite.test
def nmis_are_judged_like_interrupts():
    rows = [row for row in replaced("ipi", "nmi") if row[2] != "ipi_acked"]
    right = [(cpu, ns, "nmi_sent" if name == "ipi_sent" else name, phase, arg) for cpu, ns, name, phase, arg in rows]
    late = sorted(((cpu, 75 if (name, phase) == ("nmi", "E") else ns, name, phase, arg) for cpu, ns, name, phase, arg in right),
                  key=lambda row: row[1])
    errors = tracecheck.check(events(right, tlb_flush="nmi"))
    for broken in (rows, late):
        if not tracecheck.check(events(broken, tlb_flush="nmi")):
            errors.append("a broken one passes")
    return errors


@suite.test
def chrome_trace_is_what_perfetto_reads():
    """Valid JSON, each B with its E on its row, an arrow with two ends, a track per table."""
    text = "\n".join(f"TRACE {json.dumps(event)}" for event in events(SCENE))
    out = json.loads(json.dumps(trace.chrome(trace.scenes(results.parse(text.splitlines())))))["traceEvents"]
    phases, depth, wrong = collections.Counter(item["ph"] for item in out), collections.Counter(), []
    for item in out:
        if item["ph"] in "BE":
            depth[item["pid"], item["tid"]] += 1 if item["ph"] == "B" else -1
            if depth[item["pid"], item["tid"]] < 0:
                wrong.append(f"an E too many: {item}")
        if item["ph"] != "M" and not isinstance(item["ts"], (int, float)):
            wrong.append(f"no time: {item}")
    if any(depth.values()):
        wrong.append(f"not balanced: {depth}")
    for phase, count in {"B": 6, "E": 6, "s": 1, "f": 1, "b": 1, "e": 1, "n": 2}.items():
        if phases[phase] != count:
            wrong.append(f"{phases[phase]} of phase {phase}, not {count}")
    names = {item["args"]["name"] for item in out if item["ph"] == "M" and "name" in item["args"]}
    if names != {"unmap: table_free=rcu tlb_flush=ipi", "CPU 0", "CPU 1", "grace periods"}:
        wrong.append(f"names: {names}")
    arrow = [(item["tid"], item["ts"]) for item in out if item["ph"] in "sf"]
    return wrong + ([] if arrow == [(0, 0.04), (1, 0.05)] else [f"arrow: {arrow}"])


LOG = "build/test/trace.log"
log_suite = selftest.Suite("trace-log")


@log_suite.test
def what_a_kernel_has_recorded_is_right():
    found = trace.scenes(results.load([LOG]))
    wrong = [f"{title}: {text}" for title, events_ in found.items() for text in tracecheck.check(events_)]
    played = {title.split(":")[0] for title in found}
    return wrong + [f"no scene {name}" for name in ("unmap", "unmap_robbed", "grace_period", "expedited", "switch")
                    if name not in played]


@log_suite.test
def no_event_of_an_unmap_may_be_missing():
    """In one scene of each policy, the check notices if any one event is missing, except walks and instants without a
    partner."""
    alone = ("walk", "quiescent", "pv_flagged", "sweep", "switch_state")
    wrong = []
    for title, events_ in trace.scenes(results.load([LOG])).items():
        if not title.startswith("unmap: ") or "tlb_flush=ipi" not in title:
            continue
        for number, event in enumerate(events_):
            if event["event"] not in alone and not tracecheck.check(events_[:number] + events_[number + 1:]):
                wrong.append(f"{title}: without {event['event']} {event['ph']} at {event['ns']} ns")
    return wrong


if __name__ == "__main__":
    sys.exit(selftest.main(log_suite if sys.argv[1:] == ["log"] else suite))
