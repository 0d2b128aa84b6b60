#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make report: measure the comparison over policies, flush back-ends and numbers of CPUs, and draw it as one page
(build/report/index.html; docs/report.md), and the figures of docs/findings.md (build/report/findings/). Variables:
SECONDS= of measuring in all, SMP_LIST= numbers of CPUs, the machine's as for make run. RESULTS="files" draws what was
measured before, without an emulator; BASE="files" compares with what is in these."""
import dataclasses
import glob
import json
import os
import shlex
import shutil
import sys
import time

import host
import machine
import mishap
import pictures
import results
import run
import targets
from progress import Progress, say

OUT, LOGS = "build/report", "build/report-logs"
NAME = "report-{}.jsonl"  # in host.FOLDER: what the last make report has measured
SECONDS, SMP_LIST = 480, (2, 4)
BOOT_SECONDS = 6
COUNTING_SECONDS = 25
VERDICT_SMP, SCALE_SMP = 4, 8
# What the number of CPUs may change; the first of SMP_LIST is for everything.
OTHER_SIZES = ("walk*,unmap_page,unmap_512,protect_page,map_touch_unmap,pages_held,"
               "expedited,grace_period,bystander*")
FAILED_LINES = 5


@dataclasses.dataclass
class Step:
    """One boot."""
    name: str
    share: float  # of SECONDS
    config: machine.Config
    keys: str     # of its command line, but for seconds=
    seconds: int = 0
    light: bool = False


def steps(base, sizes, seconds):
    """What is measured. The more a step tells, the larger its share. The unsafe pairs are timed, too: without them
    there is nothing to compare the safe ones with."""
    def step(name, share, build, smp, keys):
        return Step(name, share, dataclasses.replace(base, build=build, smp=smp), keys)

    found = [step("verdicts", 18, "check", VERDICT_SMP, "mode=compare")]
    found.append(step(f"times-smp{sizes[0]}", 50, "release", sizes[0], "mode=bench allow_unsafe=1"))
    found += [step(f"times-smp{smp}", 18, "release", smp, f"mode=bench allow_unsafe=1 bench={OTHER_SIZES}")
              for smp in sizes[1:]]
    found.append(step("scaling", 12, "release", max(SCALE_SMP, *sizes), "mode=bench bench=scale_*"))
    found.append(step("trace", 2, "release", min(sizes), "mode=trace"))
    whole = sum(step.share for step in found)
    for step in found:
        measured = max(1, round(seconds * step.share / whole))
        step.config.cmdline = run.with_extra(f"{step.keys} seconds={measured}")
        step.seconds = run.seconds_of(step.config.cmdline) + BOOT_SECONDS
    return found + [instructions(base)]


def instructions(base):
    """Exact figures come from QEMU at one CPU, whatever measures the times. How long is measured changes none of them,
    so the kernel decides."""
    config = machine.Config(smp=1, mem=base.mem, accel="icount", build="release",
                            cmdline=run.with_extra("mode=bench allow_unsafe=1"))
    return Step("instructions", 0, config, "", COUNTING_SECONDS)


def boot(step, progress):
    """(result, path of what was measured)"""
    with open(f"{LOGS}/{step.name}.log", "w", encoding="utf-8", buffering=1) as log:
        return host.measure(step.config, f"{host.FOLDER}/{NAME.format(step.name)}",
                            on_line=lambda line: (log.write(line + "\n"), progress.line(line)))


def measure(step, progress):
    """Boot; what is wrong with it, or ""."""
    progress.begin(step)
    try:
        result, path = boot(step, progress)
    except mishap.ANY as error:  # the other steps go on
        progress.end(step, [f"  FAILED  {step.name}: {mishap.sentence(error)}",
                            *(f"        | {line}" for line in mishap.details(error))])
        return mishap.sentence(error)
    wrong = "" if result.ok and path else result.sentence if path else f"{result.sentence}; nothing was measured"
    said = [line for line in result.lines if line.startswith(("# ERROR", "# WARN", "# PANIC"))][:FAILED_LINES]
    lines = [f"  {'FAILED' if wrong else 'ok':6}  {step.name}: {result.seconds:.0f} s"]
    if wrong:
        lines[0] += f": {wrong} ({LOGS}/{step.name}.log)"
        lines += [f"        | {line}" for line in said]
    progress.end(step, lines)
    return wrong


def measure_all():
    """(the result files, how many steps have failed)"""
    sizes = [int(word) for word in (os.environ.get("SMP_LIST") or "").split()] or SMP_LIST
    base = run.config_from_environment()
    base.cmdline = ""
    plan = steps(base, sizes, int(os.environ.get("SECONDS") or SECONDS))
    for step in plan:
        machine.check_available(step.config)
    os.makedirs(LOGS, exist_ok=True)
    for old in glob.glob(f"{host.FOLDER}/{NAME.format('*')}"):
        os.remove(old)
    expected = sum(step.seconds for step in plan)
    say(f"Quiesce: {len(plan)} boots ({', '.join(step.name for step in plan)}), about {expected // 60} min "
        f"{expected % 60} s.")
    progress = Progress(plan)
    failed = sum(bool(measure(step, progress)) for step in plan)
    return [f"{host.FOLDER}/{NAME.format('*')}"], failed


def words(name):
    return shlex.split(os.environ.get(name) or "")


def draw(files):
    """The page and the targets' file beside it."""
    runs, base = results.load(files), words("BASE")
    base = results.load(base) if base else None
    shutil.rmtree(OUT, ignore_errors=True)  # no picture of an earlier one stays
    page = pictures.build(runs, base, OUT)
    judged = targets.judge(runs)
    with open(f"{OUT}/targets.json", "w", encoding="utf-8") as f:
        json.dump([target.as_dict() for target in judged], f, indent=1)
    return page, [target for target in judged if target.cpus == targets.CPUS]


def print_summary(page, judged, files):
    for verdict in ("met", "MISSED", "not measured", "not judged"):
        some = [target.name for target in judged if target.verdict() == verdict]
        names = f": {', '.join(some)}" if verdict != "met" else ""
        if some:
            say(f"speed targets at SMP={targets.CPUS}, {verdict}: {len(some)}{names}")
    say(f"report: {page}\nreport: the same once more: make report RESULTS={shlex.quote(' '.join(files))}")


def main():
    start = time.monotonic()
    files, failed = words("RESULTS"), 0
    try:
        if words("BASE"):
            results.load(words("BASE"))  # before minutes of measuring
        if not files:
            files, failed = measure_all()
        page, judged = draw(files)
    except (machine.Unavailable, results.Broken) as error:
        say(f"report: {error}")
        return 1
    except KeyboardInterrupt:
        say("\nreport: interrupted")
        return 130
    except mishap.ANY as error:
        say("\n".join([f"report: {mishap.sentence(error)}", *mishap.details(error)]))
        return 1
    print_summary(page, judged, files)
    minutes, seconds = divmod(int(time.monotonic() - start), 60)
    say(f"report: {minutes} min {seconds} s" + (f"; {failed} boots have failed" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
