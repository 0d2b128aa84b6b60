#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make hosted: the host build under the sanitizers and under the deterministic scheduler, the bugs that are planted
there, and coverage (docs/hosted.md). Prints KTAP. Arguments: `quick` (what make test runs) or `full`, and globs of
names. Each run's log stays in build/hosted/."""
import concurrent.futures
import dataclasses
import fnmatch
import os
import re
import subprocess
import sys
import threading
import time

import ktap
import matrix
import mishap
import patience
from patience import interruptible

FOLDER = "build/hosted"
JOBS = min(2, os.cpu_count() or 1)
BUDGET = 900                       # seconds of processor time for one run
TRACE = re.compile(r"^# sched=.* trace ([0-9a-f]{16})$")
ASSERTION = re.compile(r"^# ERROR: (tests/host/stress\.c:\d+: .*)$")
KINDS = ("random", "pct")
ACCUSED = re.compile(r"# (WARN|ERROR|PANIC): .* \d{6,} m?s\b")  # complaints that something took minutes or longer
FULL = "quick" not in sys.argv
SEEDS = range(1, 21) if FULL else range(1, 3)
PLANTED_SEEDS = range(1, 41)       # one of them must find it

# (a mutant: a step taken out, the keys of a pair for which the step matters)
PLANTED = [
    ("targeted_no_publish", "table_free=targeted"),
    ("hazard_no_reread", "table_free=hazard"),
    ("batch_no_grace_period", "table_free=rcu"),
    ("rcu_page_no_grace_period", "table_free=rcu-page"),
    ("ipi_no_join", "table_free=ipi"),
    ("lazy_no_wait", "table_free=rcu tlb_flush=lazy"),
    ("nmi_no_flush", "table_free=rcu tlb_flush=nmi"),
    ("tree_lower_entry_left", "table_free=hazard"),
    ("tlb_no_catch_up", "table_free=rcu"),
    ("walk_no_leaf_recheck", "table_free=rcu"),
    ("epoch_no_enter", "table_free=epoch"),
    ("flush_claims_targets", "table_free=auto tlb_flush=nmi"),
    ("tree_frees_before_unlink", "table_free=ipi"),
    ("tree_queues_before_unlink", "table_free=rcu"),
    ("gather_upper_at_once", "table_free=rcu"),
]
QUICK_PLANTED = ("targeted_no_publish", "hazard_no_reread", "batch_no_grace_period", "lazy_no_wait",
                 "walk_no_leaf_recheck")

# ThreadSanitizer takes 30 times as long under the deterministic scheduler: only the suites in which CPUs meet.
THREAD_SUITES = "stress,walkers,rcu*,xcall,smoke,host,lock,policy*,history,switch*,flush*,pending,stolen,space_random"
THREAD_QUICK = "stress,walkers,rcu_torture,xcall"

# What the coverage build runs besides the suites: (arguments, exit status).
BAD = 2
COVERED = [
    ("sched=random seed=1 mode=test", 0),
    ("sched=pct seed=2 mode=test", 0),
    ("mode=test test=walk*,stress,switch*,rcu*,flush*", 0),
    ("sched=random mode=torture seconds=8", 0),
    ("sched=random mode=torture seconds=8 table_free=immediate allow_unsafe=1", 0),
    ("sched=random mode=compare seconds=20", 0),
    ("table_free=bogus", BAD), ("tlb_flush=bogus", BAD), ("tlb_flush=hyperv", BAD), ("tlb_flush=xen", BAD),
    ("allow_unsafe=2", BAD), ("steal=xen", BAD),
    ("table_free=ipi tlb_flush=pv", BAD), ("pending_max=1", BAD), ("steal=none tlb_flush=pv", BAD),
    ("pending_max=64 sched=random mode=test test=smoke", 0),
    ("map=absurd sched=random mode=test test=smoke,page", 0),
    ("map=pieces sched=random mode=test test=smoke,page", 0),
    ("cpus=40 sched=random mode=test test=smoke,xcall,rcu.w*,rcu.e*", 0),
    # What the oracle says of a violation that nobody expects.
    ("sched=pct mode=test test=stress.named_pair table_free=hazard mutant=tree_lower_entry_left", 1),
]


@dataclasses.dataclass
class Outcome:
    command: str
    status: int                    # None: it had to be ended
    lines: list
    trace: str = ""
    hung: str = ""                 # why it had to be ended

    def wrong(self, expected=0):
        """Why the run is not as it should be, as lines, or None."""
        if self.status == expected and (expected or not self.report_errors()):
            return None
        tail = [line for line in self.lines if re.search(r"ERROR|PANIC|not ok|runtime error|WARNING: Thr", line)][:12]
        why = self.hung or f"exit status {self.status}"
        return [f"{why}: {self.command}"] + self.report_errors() + (tail or self.lines[-5:])

    def report_errors(self):
        if "mode=test" not in self.command:
            return []
        report = ktap.parse(self.lines)
        return report.errors + [f"failed: {name}" for name, _ in report.failed] + [
            f"unexpected skip: {name}: {reason}" for name, reason in report.skipped if reason not in matrix.HOST_SKIPS]

    def assertion(self):
        """The first assertion of the stress suite that failed; a panic is none."""
        if self.status != 1:
            return None
        return next((match[1] for line in self.lines if (match := ASSERTION.match(line))), None)


PROCESSORS = threading.Semaphore(JOBS)


def run(san, arguments):
    program = f"build/host{'-' + san if san else ''}/quiesce-host"
    command = f"{program} {arguments}"
    env = dict(os.environ, TSAN_OPTIONS="suppressions=tests/host/tsan.supp")
    log = f"{FOLDER}/{re.sub(r'[^A-Za-z0-9=.]+', '_', f'{san} {arguments}'.strip())[:150]}.log"
    with PROCESSORS:
        status, text, hung = patience.run(command.split(), BUDGET, env=env)
    with open(log, "w", encoding="utf-8") as file:
        file.write(f"{command}\n{text}")
    outcome = Outcome(command, status, text.splitlines(), hung=hung)
    outcome.trace = next((match[1] for line in outcome.lines if (match := TRACE.match(line))), "")
    return outcome


def run_all(san, many):
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        return list(pool.map(lambda arguments: run(san, arguments), many))


BUILDING = threading.Lock()


def build(san):
    with BUILDING:
        done = subprocess.run(["make", "--no-print-directory", f"-j{JOBS}", f"HOST_SAN={san}", "host"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return [] if done.returncode == 0 else ["does not build:"] + done.stdout.splitlines()[-10:]


def problems(outcomes):
    return [line for outcome in outcomes for line in outcome.wrong() or []]


def passed(outcomes):
    return f"{sum(len(ktap.parse(outcome.lines).passed) for outcome in outcomes)} tests in {len(outcomes)} runs"


def silent(san, error, keys, says):
    """An error on purpose (tests/host/plant.c): does the sanitizer report it? A problem, or nothing."""
    outcome = run(san, f"mode=plant test={error}{keys}")
    spoke = outcome.status not in (0, 2, None) and any(says in line for line in outcome.lines)
    return [] if spoke else [f"no \"{says}\" from {outcome.command}, status {outcome.status}"]


# ---- Checks: each returns (problems, what there is to say). ---------------------------------------------------------

def address_undefined():
    """Under the deterministic scheduler, and with real threads. The quick part makes only one run, under the scheduler,
    which takes a third of the time."""
    san = "address,undefined"
    if wrong := build(san):
        return wrong, ""
    mute = silent(san, "overrun", "", "AddressSanitizer: global-buffer-overflow")
    mute += silent(san, "shift", "", "runtime error: shift exponent")
    many = [f"sched={kind} seed=1 mode=test" for kind in KINDS]
    outcomes = run_all(san, many if FULL else many[1:]) + ([run(san, "mode=test")] if FULL else [])
    return mute + problems(outcomes), passed(outcomes)


def thread():
    """As above. The scheduler's switches between CPUs order nothing for ThreadSanitizer, so it judges a schedule as if
    the CPUs were threads."""
    if wrong := build("thread"):
        return wrong, ""
    mute = silent("thread", "race", " sched=random", "WARNING: ThreadSanitizer: data race")
    if FULL:
        mute += silent("thread", "race", "", "WARNING: ThreadSanitizer: data race")
        outcomes = run_all("thread", [f"sched={kind} seed=1 mode=test test={THREAD_SUITES}" for kind in KINDS])
        outcomes.append(run("thread", "mode=test"))
    else:
        outcomes = [run("thread", f"sched=random seed=1 mode=test test={THREAD_QUICK}")]
    return mute + problems(outcomes), passed(outcomes)


def schedules(kind):
    if wrong := build(""):
        return wrong, ""
    outcomes = run_all("", [f"sched={kind} seed={seed} mode=test" for seed in SEEDS])
    traces = {outcome.trace for outcome in outcomes}
    wrong = problems(outcomes)
    if not wrong and len(traces) != len(outcomes):
        wrong.append(f"{len(outcomes)} seeds made only {len(traces)} different schedules")
    return wrong, f"{passed(outcomes)}, all of them different"


def repeats():
    """The same seed makes the same schedule of all suites, in another process. And a hang is reported at once."""
    if wrong := build(""):
        return wrong, ""
    wrong, said = silent("", "hang", " sched=random", "PANIC: deadlock: every CPU halts"), []
    for kind in KINDS if FULL else KINDS[1:]:
        first, second = run_all("", [f"sched={kind} seed=7 mode=test"] * 2)
        wrong += problems([first, second])
        if not first.trace or first.trace != second.trace:
            wrong.append(f"{first.command}: trace {first.trace}, then {second.trace}")
        else:
            said.append(f"{kind} {first.trace} twice")
    return wrong, ", ".join(said)


def pauses():
    """The host stops the machine for an hour, again and again: the kernel may report no hang."""
    if wrong := build(""):
        return wrong, ""
    suites = "time,rcu,rcu_*,lock,xcall,sched*,stolen,pending,walk*,page,slab"
    many = [f"sched={kind} pauses=50 mode=torture seconds=604800" for kind in KINDS]
    many += [f"sched={kind} pauses=50 mode=test test={suites}" for kind in (KINDS if FULL else KINDS[:1])]
    outcomes = run_all("", many)
    wrong = problems(outcomes)
    wrong += [f"{outcome.command}: {line}" for outcome in outcomes for line in outcome.lines if ACCUSED.search(line)]
    return wrong, passed(outcomes)


def find(mutant, keys, kind):
    """(the seed that finds it, its outcome) or None."""
    for seed in PLANTED_SEEDS:
        outcome = run("", f"sched={kind} seed={seed} mode=test test=stress.named_pair {keys} mutant={mutant}")
        if outcome.assertion():
            return seed, outcome
        if wrong := outcome.wrong():
            raise ValueError("; ".join(wrong[:3]))
    return None


def planted(mutant, keys, kind):
    if wrong := build(""):
        return wrong, ""
    try:
        found = find(mutant, keys, kind)
    except ValueError as error:
        return [f"ended by no assertion: {error}"], ""
    if not found:
        return [f"not found with seeds 1 to {PLANTED_SEEDS[-1]}"], ""
    seed, first = found
    again = run("", first.command.split(" ", 1)[1])
    green = run("", f"sched={kind} seed={seed} mode=test test=stress.named_pair {keys}")
    wrong = green.wrong() or []
    if (again.assertion(), again.trace) != (first.assertion(), first.trace):
        wrong.append(f"seed {seed} found \"{first.assertion()}\" ({first.trace}), then \"{again.assertion()}\" "
                     f"({again.trace})")
    return wrong, f"seed {seed}, and again: {first.assertion()}"


def coverage():
    if wrong := build("coverage"):
        return wrong, ""
    for folder, _, names in os.walk("build/host-coverage"):
        for name in names:
            if name.endswith(".gcda"):
                os.remove(os.path.join(folder, name))
    wrong = []
    for arguments, status in COVERED:     # one after another: they add to the same counts
        wrong += run("coverage", arguments).wrong(status) or []
    done = subprocess.run([sys.executable, "tools/coverage.py", "--missing"], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    return wrong + (done.stdout.splitlines()[-1:] if done.returncode else []), done.stdout.strip()


def checks():
    some = [("address_undefined", address_undefined), ("thread", thread)]
    some += [(f"schedules_{kind}", lambda kind=kind: schedules(kind)) for kind in KINDS]
    some += [("schedules_repeat", repeats), ("pauses", pauses)]
    for mutant, keys in PLANTED:
        if FULL or mutant in QUICK_PLANTED:
            some += [(f"planted_{mutant}_{kind}", lambda m=mutant, k=keys, kind=kind: planted(m, k, kind))
                     for kind in (KINDS if FULL else KINDS[1:])]
    if FULL:
        some.append(("coverage", coverage))
    globs = [a for a in sys.argv[1:] if a not in ("quick", "full")]
    return [(name, check) for name, check in some if not globs or any(fnmatch.fnmatch(name, g) for g in globs)]


def attempt(check):
    """(problems, what there is to say, seconds)"""
    start = time.monotonic()
    try:
        wrong, said = check()
    except mishap.ANY as error:
        wrong, said = [mishap.sentence(error), *mishap.details(error)], ""
    return wrong, said, time.monotonic() - start


def main():
    os.makedirs(FOLDER, exist_ok=True)
    some, failed = checks(), 0
    if not some:
        sys.exit("hosted: no check has such a name")
    print(f"KTAP version 1\n1..{len(some)}")
    # Most checks run one process after another: JOBS + 1 checks at a time keep JOBS processes busy.
    with interruptible(concurrent.futures.ThreadPoolExecutor(JOBS + 1)) as pool:
        results = [pool.submit(attempt, check) for _, check in some]
        for k, ((name, _), result) in enumerate(zip(some, results), 1):
            print(f"# [{k}/{len(some)}] hosted.{name}", flush=True)
            wrong, said, seconds = result.result()
            for line in wrong + said.splitlines():
                print(f"# {line}")
            print(f"# hosted.{name} took {seconds:.0f} s")
            print(f"{'not ok' if wrong else 'ok'} {k} hosted.{name}", flush=True)
            failed += bool(wrong)
    print(f"{len(some) - failed} passed, {failed} failed")
    sys.exit(failed != 0)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("hosted: interrupted")
        sys.exit(130)
