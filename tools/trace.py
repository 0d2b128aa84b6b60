#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make trace: boot mode=trace, check what was recorded (tracecheck.py), and write it as Chrome's trace JSON, which
https://ui.perfetto.dev opens: each scene is a process there, and each CPU a row of it. With files (results or serial
logs) as arguments it does not boot, but takes the events from these."""
import argparse
import collections
import json
import os
import sys

import host
import machine
import results
import run
import tracecheck

ROWS = {"grace_period": (1000, "grace periods"), "expedited": (1001, "expedited grace periods"), "switch": (1002, "switch of policy")}
STATES = ("joining", "union", "moved", "drained", "leaving")  # switch_states[] in mm/policy/switch.c


def scenes(runs):
    """{title: events in the order in which they were printed}"""
    found = collections.defaultdict(list)
    for number, boot in enumerate(runs, 1):
        for event in boot.trace:
            title = f"{event['scene']}: table_free={event['table_free']} tlb_flush={event['tlb_flush']}"
            found[title if len(runs) == 1 else f"{number}. {title}"].append(event)
    return found


def arguments(event):
    name, arg = event["event"], event["arg"]
    if name.startswith("table_"):
        return {"table": f"0x{arg & ~7:x}", "level": arg & 7}
    if name in ("unmap", "walk", "flush") and event["ph"] == "B":
        return {"address": f"0x{arg:x}"}
    if name == "switch_state":
        return {"state": STATES[arg] if arg < len(STATES) else arg}
    return {"of_cpu" if name in ("quiescent", "ipi_sent", "nmi_sent", "pv_flagged") else "arg": arg}


def row(event):
    return ROWS["switch"][0] if event["event"] == "switch_state" else ROWS.get(event["event"], (event["cpu"],))[0]


def metadata(pid, title, events):
    names = {cpu: f"CPU {cpu}" for cpu in {e["cpu"] for e in events}} | {tid: name for tid, name in ROWS.values()}
    used = {row(e) for e in events}
    yield {"ph": "M", "pid": pid, "tid": 0, "name": "process_name", "args": {"name": title}}
    yield {"ph": "M", "pid": pid, "tid": 0, "name": "process_sort_index", "args": {"sort_index": pid}}
    for tid in sorted(used):
        yield {"ph": "M", "pid": pid, "tid": tid, "name": "thread_name", "args": {"name": names[tid]}}
        yield {"ph": "M", "pid": pid, "tid": tid, "name": "thread_sort_index", "args": {"sort_index": tid}}


def flows(pid, events):
    """An arrow from each interrupt sent to the handler that it started: the first that begins later on that CPU."""
    waiting, number = collections.defaultdict(collections.deque), 0
    for event in events:
        for kind, (handler, _, _) in tracecheck.SENT.items():
            if event["event"] == kind:
                waiting[handler, event["arg"]].append(event)
            elif event["event"] == handler and event["ph"] == "B" and waiting[handler, event["cpu"]]:
                sent = waiting[handler, event["cpu"]].popleft()
                number += 1
                ends = {"pid": pid, "cat": "interrupt", "name": kind, "id": pid << 20 | number}
                yield ends | {"ph": "s", "tid": row(sent), "ts": sent["ns"] / 1000}
                yield ends | {"ph": "f", "bp": "e", "tid": row(event), "ts": event["ns"] / 1000}


def tables(pid, events):
    """A track for each table, from unlinked to freed, with its steps in between."""
    for number, (arg, steps) in enumerate(tracecheck.lives(events)[0]):
        for step, phase in zip(steps, "bnne"):
            yield {"ph": phase, "pid": pid, "tid": row(step), "cat": "table", "id": pid << 20 | number, "ts": step["ns"] / 1000,
                   "name": tracecheck.table_name(arg) if phase in "be" else step["event"]}


def chrome(found):
    """The scenes in Chrome's format: times in microseconds."""
    out = []
    for pid, (title, events) in enumerate(found.items(), 1):
        out += metadata(pid, title, events)
        for event in events:
            item = {"ph": event["ph"], "pid": pid, "tid": row(event), "ts": event["ns"] / 1000, "name": event["event"],
                    "args": arguments(event)}
            out.append(item | {"s": "t"} if event["ph"] == "i" else item)
        out += flows(pid, events)
        out += tables(pid, events)
    return {"traceEvents": out, "displayTimeUnit": "ns"}


def record():
    """Boot once; the runs of its result file."""
    config = run.config_from_environment()
    config.build, config.cmdline = os.environ.get("BUILD") or "release", config.cmdline or run.with_extra("mode=trace")
    result, path = host.measure(config, on_line=lambda line: line.startswith("TRACE") or run.say(line))
    if not result.ok or not path:
        raise machine.Unavailable(result.sentence if not result.ok else "nothing was recorded: is that mode=trace?")
    run.say(f"trace: the events are in {path}")
    return results.load([path])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*")
    parser.add_argument("-o", "--output", default="build/trace.json")
    options = parser.parse_args()
    try:
        found = scenes(results.load(options.files) if options.files else record())
    except (results.Broken, machine.Unavailable) as error:
        run.say(f"trace: {error}")
        return 1
    problems = [f"{title}: {text}" for title, events in found.items() for text in tracecheck.check(events)]
    for text in problems or ([] if found else ["no TRACE line"]):
        run.say(f"trace: WRONG: {text}")
    with open(options.output, "w", encoding="utf-8") as f:
        json.dump(chrome(found), f, separators=(",", ":"))
    run.say(f"trace: {len(found)} scenes, {sum(map(len, found.values()))} events in {options.output}; "
            "open it in https://ui.perfetto.dev")
    return 1 if problems or not found else 0


if __name__ == "__main__":
    sys.exit(main())
