# SPDX-License-Identifier: MIT
"""What must be true of a recorded scene (docs/tracing.md): each beginning has its end, times do not go back, and
nothing happens before what it waits for. check(events) says what is wrong, as sentences."""
import collections

# Spans of threads that sleep in between: they have rows of their own, not that of the CPU that happened to record them.
OWN_ROW = ("grace_period", "expedited", "switch")
LIFE = ("table_unlinked", "table_flushed", "table_quiesced", "table_freed")
# These policies are claimed to wait for a grace period. Other policies must only meet what all must meet.
WAITS_FOR_RCU = ("rcu", "rcu-sync", "rcu-page", "rcu-proxy")
# These wait for all earlier walks (`ipi`: for those of CPUs that run in the space, as the scenes' walkers do); hazard
# and targeted only for walks that have published where they are.
WAITS_FOR_WALKS = WAITS_FOR_RCU + ("ipi",)
# These send an IPI to the CPUs whose walks they find, and wait for the answers.
WAITS_FOR_ANSWERS = ("targeted",)
SENT = {"ipi_sent": ("ipi", "ipi_acked", "i"), "nmi_sent": ("nmi", "nmi", "E")}  # received by, answered by


def table_name(arg):
    """A table's address has its level in the lowest bits."""
    return f"L{arg & 7} table 0x{arg & ~7:x}"


def row_of(event):
    return event["event"] if event["event"] in OWN_ROW else event["cpu"]


def spans(events):
    """([(begin, end)], problems): the events that belong together on each row, innermost first."""
    found, problems, open_ = [], [], collections.defaultdict(list)
    for event in events:
        stack = open_[row_of(event)]
        if event["ph"] == "B":
            stack.append(event)
        elif event["ph"] == "E":
            if stack and stack[-1]["event"] == event["event"]:
                found.append((stack.pop(), event))
            else:
                inside = f"inside {stack[-1]['event']}" if stack else "without a beginning"
                problems.append(f"{event['event']} ends on CPU {event['cpu']} at {event['ns']} ns {inside}")
        elif event["ph"] != "i":
            problems.append(f"{event['event']}: unknown phase {event['ph']!r}")
    problems += [f"{event['event']} on CPU {event['cpu']} begins at {event['ns']} ns and does not end"
                 for stack in open_.values() for event in stack]
    return found, problems


def check_times(events):
    last, problems = {}, []
    for event in events:
        if event["ns"] < last.get(event["cpu"], 0):
            problems.append(f"the clock of CPU {event['cpu']} goes back to {event['ns']} ns at {event['event']}")
        last[event["cpu"]] = event["ns"]
    return problems


def check_received(events):
    """Each handler runs after an interrupt was sent to its CPU: there are never more handlers than interrupts. (There
    may be fewer: two interrupts that wait start one handler.)"""
    sent, problems = collections.Counter(), []
    for event in sorted(events, key=lambda e: e["ns"]):
        for kind, (handler, _, _) in SENT.items():
            if event["event"] == kind:
                sent[handler, event["arg"]] += 1
            elif event["event"] == handler and event["ph"] == "B":
                sent[handler, event["cpu"]] -= 1
                if sent[handler, event["cpu"]] < 0:
                    problems.append(f"{handler} received on CPU {event['cpu']} at {event['ns']} ns before it was sent")
    return problems


def silent(events, sender, begin, end):
    """The CPUs that this one has interrupted in that time, and that have not answered in it."""
    for sent in events:
        if sent["event"] not in SENT or sent["cpu"] != sender or not begin <= sent["ns"] <= end:
            continue
        _, answer, phase = SENT[sent["event"]]
        if not any(e["event"] == answer and e["ph"] == phase and e["cpu"] == sent["arg"] and sent["ns"] <= e["ns"] <= end
                   for e in events):
            yield sent["arg"]


def check_acknowledged(events, all_spans):
    """A flush ends after each CPU that it has interrupted has answered."""
    return [f"the flush on CPU {begin['cpu']} ends at {end['ns']} ns, not acknowledged by CPU {cpu}" for begin, end in all_spans
            if begin["event"] == "flush" for cpu in silent(events, begin["cpu"], begin["ns"], end["ns"])]


def lives(events):
    """([(table, [its steps in order])], problems). A table that was freed and used again appears again."""
    open_, done, problems = {}, [], []
    for event in events:
        name, arg = event["event"], event["arg"]
        if name == "table_kept":
            open_.pop(arg, None)
        elif name == LIFE[0]:
            if arg in open_:
                problems.append(f"{table_name(arg)} is unlinked twice")
            open_[arg] = [event]
        elif name in LIFE:
            steps = open_.setdefault(arg, [])
            if len(steps) != LIFE.index(name):
                problems.append(f"{table_name(arg)}: {name} at {event['ns']} ns, not after {LIFE[LIFE.index(name) - 1]}")
                continue
            steps.append(event)
            if name == LIFE[-1]:
                done.append((arg, open_.pop(arg)))
    problems += [f"{table_name(arg)} is not freed" for arg, steps in open_.items() if steps]
    return done, problems


def check_tables(events, all_spans):
    done, problems = lives(events)
    for arg, (unlinked, flushed, quiesced, _) in done:
        flushes = [(b, e) for b, e in all_spans if b["event"] == "flush" and b["cpu"] == unlinked["cpu"] and
                   unlinked["ns"] <= b["ns"] and (b if e["arg"] else e)["ns"] <= flushed["ns"]]  # or left to sweeps
        if not flushes:
            problems.append(f"{table_name(arg)} counts as flushed at {flushed['ns']} ns, before a flush has ended")
        elif flushes[-1][1]["arg"] and not any(e["event"] == "sweep" and e["cpu"] != unlinked["cpu"] and
                                               flushes[-1][0]["ns"] <= e["ns"] <= flushed["ns"] for e in events):
            problems.append(f"{table_name(arg)} counts as flushed at {flushed['ns']} ns, before any other CPU has swept")
        if unlinked["table_free"] in WAITS_FOR_RCU and not any(
                b["event"] == "grace_period" and unlinked["ns"] <= b["ns"] and e["ns"] <= quiesced["ns"] for b, e in all_spans):
            problems.append(f"{table_name(arg)} counts as quiescent at {quiesced['ns']} ns, without a grace period")
        if unlinked["table_free"] in WAITS_FOR_WALKS and any(
                b["event"] == "walk" and b["ns"] < unlinked["ns"] and e["ns"] > quiesced["ns"] for b, e in all_spans):
            problems.append(f"{table_name(arg)} counts as quiescent at {quiesced['ns']} ns, while an older walk goes on")
        if unlinked["table_free"] in WAITS_FOR_ANSWERS:
            problems += [f"{table_name(arg)} counts as quiescent at {quiesced['ns']} ns, not acknowledged by CPU {cpu}"
                         for cpu in silent(events, unlinked["cpu"], flushed["ns"], quiesced["ns"])]
    return problems


def check(events):
    """All that is wrong with one scene's events, in the order in which they were printed."""
    found, problems = spans(events)
    if not events:
        problems.append("no events")
    return (problems + check_times(events) + check_received(events) + check_acknowledged(events, found) +
            check_tables(events, found))
