#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make fuzz: runs each target of build/fuzz/ for its share of SECONDS, on two cores. It starts from the kept inputs in
tests/fuzz/corpus/ and from those that earlier runs have added in build/fuzz/corpus/. Arguments: targets; --ktap: the
short run of `make test`, which also breaks the kernel on purpose, to see that the kept inputs notice."""
import concurrent.futures
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import machine
import mishap
import patience

BUILD, KEPT = "build/fuzz", "tests/fuzz/corpus"
TARGETS = ("space", "acpi", "bootinfo", "start_info", "cmdline", "elf", "args")
SHARES = {"space": 3}               # it is slower and has more to find; the others: 1
MAX_LENGTH = {"space": 402, "cmdline": 2600, "acpi": 8192, "bootinfo": 16384, "start_info": 16384, "elf": 16384, "args": 600}
MUTANTS = ("discard_no_recheck", "no_flush_without_leaf", "tree_lower_entry_left", "collapse_one_invlpg")
SHORT_RUNS = {"space": 3000, "acpi": 8000, "bootinfo": 25000, "start_info": 20000, "cmdline": 50000, "elf": 6000,
              "args": 100000}  # inputs: some 15 s of two idle cores
# Seconds of processor time, beyond those asked for. An input takes milliseconds, so a target that uses up all that
# hangs. (libFuzzer's own limits go by the clock, so they are off.)
BUDGET = 300
NO_CLOCK = ("-timeout=0", "-report_slow_units=1000000")
FIRST_OF_A_FAILURE = re.compile(r"# PANIC|# ERROR: tests/|runtime error|ERROR: AddressSanitizer|ERROR: libFuzzer")


class Result:
    def __init__(self, target, status, text, seconds):
        self.target, self.status, self.seconds = target, status, seconds
        self.lines = text.splitlines()
        progress = re.findall(r"cov: (\d+) ft: \d+ corp: (\d+)/", text)
        self.edges, self.corpus = progress[-1] if progress else ("0", "0")
        self.executions = int((re.findall(r"number_of_executed_units: (\d+)", text) or [0])[-1])
        self.reproducer = (re.findall(r"Test unit written to (\S+)", text) or [None])[-1]

    def sentence(self):
        return (f"{self.executions:,} executions, {self.executions / max(1, self.seconds):,.0f}/s, {self.edges} edges, "
                f"{self.corpus} inputs in the corpus")

    def failure(self):
        """The lines that a person wants to see of a run that has failed."""
        start = next((i for i, line in enumerate(self.lines) if FIRST_OF_A_FAILURE.search(line)), len(self.lines) - 15)
        lines = [line for line in self.lines[max(0, start):start + 25]]
        if self.reproducer:
            lines += [f"reproducer: {self.reproducer}", f"repeat:     {BUILD}/{self.target} {self.reproducer}"]
        return lines


def abort(process):
    """Make libFuzzer name its current input, and end."""
    process.send_signal(signal.SIGABRT)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        patience.kill_tree(process.pid)


def run(target, options, folders, budget, env=None):
    """One run of a target; its whole log is kept."""
    prefix = f"{BUILD}/crashes/{target}-"
    os.makedirs(f"{BUILD}/crashes", exist_ok=True)
    command = [f"{BUILD}/{target}", f"-artifact_prefix={prefix}", *NO_CLOCK, "-print_final_stats=1",
               f"-max_len={MAX_LENGTH[target]}", *options, *folders]
    start = time.monotonic()
    status, text, hung = patience.run(command, budget, abort, env={**os.environ, **(env or {})})
    text += f"\n{hung}\n" if hung else ""
    with open(f"{BUILD}/{target}{'-' + env['FUZZ_MUTANT'] if env else ''}.log", "w", encoding="utf-8") as log:
        log.write(" ".join(command) + "\n" + text)
    return Result(target, status, text, time.monotonic() - start)


def fuzz(target, seconds, more):
    """One run of a target: until the options `more` end it, or without them for so many seconds."""
    own, kept, words = f"{BUILD}/corpus/{target}", f"{KEPT}/{target}", f"tests/fuzz/dict/{target}.dict"
    os.makedirs(own, exist_ok=True)
    options = list(more) or [f"-max_total_time={max(1, round(seconds))}"]
    if os.path.exists(words):
        options.append(f"-dict={words}")
    return run(target, options, (own, kept), seconds + BUDGET)


def attempt(target, seconds, more):
    start = time.monotonic()
    try:
        return fuzz(target, seconds, more)
    except mishap.ANY as error:
        said = "\n".join([mishap.sentence(error), *mishap.details(error)])
        return Result(target, None, said, time.monotonic() - start)


def fuzz_all(targets, seconds, report, more=lambda target: ()):
    """Run each target for its share, the longest first; `more(target)`: options."""
    workers = min(2, os.cpu_count(), len(targets))
    parts = sum(SHARES.get(t, 1) for t in targets)
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        jobs = [pool.submit(attempt, t, seconds * workers * SHARES.get(t, 1) / parts, more(t))
                for t in sorted(targets, key=lambda t: -SHARES.get(t, 1))]
        for job in concurrent.futures.as_completed(jobs):
            report(job.result())


def say(text):
    print(text, flush=True)


def long_run(targets, seconds):
    failed = []

    def report(result):
        say(f"{result.target:9} {result.sentence()}{'' if result.status == 0 else '; FAILED'}")
        if result.status != 0:
            failed.append(result.target)
            for line in result.failure():
                say(f"    {line}")

    say(f"fuzz: {', '.join(targets)} for {seconds} s in all; logs and new inputs in {BUILD}/")
    fuzz_all(targets, seconds, report)
    if failed:
        say(f"fuzz: {', '.join(failed)} failed")
    return 1 if failed else 0


def ktap(number, name, ok, lines):
    for line in lines:
        say(f"# {line}")
    say(f"{'ok' if ok else 'not ok'} {number} fuzz.{name}")
    return ok


def lacking():
    """What is missing for a build, or ""."""
    compiler = os.environ.get("FUZZ_CC") or "clang"
    if not shutil.which(compiler):
        return f"{compiler}: make deps"
    with tempfile.TemporaryDirectory() as folder:
        source = f"{folder}/empty.c"
        with open(source, "w", encoding="ascii") as f:
            f.write("int LLVMFuzzerTestOneInput(const char *data, unsigned long n) { return 0; }\n")
        linked = subprocess.run([compiler, "-fsanitize=fuzzer,address,undefined", "-o", f"{folder}/empty", source],
                                stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return "" if linked.returncode == 0 else f"{compiler}'s runtime of -fsanitize=fuzzer,address,undefined: make deps"


def build():
    done = subprocess.run(["make", "--no-print-directory", f"-j{os.cpu_count()}", "fuzz-build"], text=True, check=False,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode == 0, done.stdout.splitlines()[-15:]


def notices(mutant):
    """(do the kept inputs notice this mutant?, what they find)"""
    result = run("space", ("-runs=0",), (f"{KEPT}/space",), BUDGET, {"FUZZ_MUTANT": mutant})
    why = next((line for line in result.lines if FIRST_OF_A_FAILURE.search(line)), "nothing")
    return result.reproducer is not None, [f"found: {why}"]


def short_run():
    say("KTAP version 1")
    if what := lacking():
        say(f"1..1\nok 1 fuzz # SKIP {machine.LACKS}{what}")
        return 0
    built, said = build()
    if not built:
        say("1..1")
        ktap(1, "build", False, said)
        return 1
    say(f"1..{len(TARGETS) + len(MUTANTS)}")
    shutil.rmtree(f"{BUILD}/corpus", ignore_errors=True)       # from the kept inputs alone, so that it repeats
    ok = []

    def report(result):
        kept = len(glob.glob(f"{KEPT}/{result.target}/*"))
        lines = [f"{result.target}: {kept} kept inputs; {result.sentence()}"]
        good = result.status == 0 and result.executions >= kept > 0
        ok.append(ktap(len(ok) + 1, result.target, good, lines if good else lines + result.failure()))

    fuzz_all(TARGETS, 0, report, lambda target: (f"-runs={SHORT_RUNS[target]}", "-seed=1"))
    for mutant in MUTANTS:
        try:
            good, said = notices(mutant)
        except mishap.ANY as error:
            good, said = False, [mishap.sentence(error), *mishap.details(error)]
        ok.append(ktap(len(ok) + 1, f"space_notices_{mutant}", good, said))
    return 0 if all(ok) else 1


def main():
    if sys.argv[1:] == ["--ktap"]:
        return short_run()
    targets = sys.argv[1:] or list(TARGETS)
    seconds = os.environ.get("SECONDS") or "60"
    unknown = [t for t in targets if t not in TARGETS]
    if unknown or not seconds.isdigit() or int(seconds) < 1:
        say(f"fuzz: TARGETS are some of {' '.join(TARGETS)}; SECONDS is a number of seconds")
        return 2
    return long_run(targets, int(seconds))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
