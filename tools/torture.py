#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make torture-all: mode=torture once for each pair of policy and flush back-end that this machine has, each in a boot
of its own. SECONDS= is the time of each safe pair; of an unsafe pair the oracle must report a violation, which takes a
moment. The kernel names the pairs, in a short first run. Machine variables as for make run; arguments: globs of pairs,
for example "rcu*+pv". EXTRA has more keys for each of the command lines. The serial logs stay in build/torture/."""
import fnmatch
import os
import re
import sys

import machine
import mishap
import run

FOLDER = "build/torture"
CONVICT_SECONDS = 10    # of an unsafe pair: its load is begun again until a violation is found or this time is over
# How the kernel announces the pairs (pairs_print_all()): the safe ones in one line, each unsafe one in a line of its own.
SAFE = re.compile(r"(\d+) pairs of table_free= \(tlb_flush=\) are safe: (.*)")
SAFE_OF_POLICY = re.compile(r"([\w-]+) \(([\w, -]+)\)")
UNSAFE = re.compile(r"table_free=(\S+) tlb_flush=(\S+): unsafe: ")


def boot(config, name, keys, seconds):
    """A boot that the tools cannot make counts as failed."""
    try:
        return boot_once(config, name, keys, seconds)
    except machine.Unavailable as error:
        return machine.Result(None, str(error), [], 0.0)
    except mishap.ANY as error:
        return machine.Result(None, "; ".join([mishap.sentence(error), *mishap.details(error)]), [], 0.0)


def boot_once(config, name, keys, seconds):
    config.cmdline = run.with_extra(f"mode=torture seconds={seconds} {keys}")
    with open(f"{FOLDER}/{name}.log", "w", encoding="utf-8", buffering=1) as log:
        return machine.run(config, on_line=lambda line: log.write(line + "\n"))


def last_word(result):
    """The kernel's closing sentence, and what it warned of (WARN() is printed as an error: "# ERROR: WARNING: ...")."""
    said = [line[2:] for line in result.lines if line.startswith("# torture: ")]
    said += [line[2:] for line in result.lines if line.startswith(("# WARN", "# ERROR", "# PANIC"))][:3]
    return "; ".join(said + ([] if result.ok else [result.sentence]))


def announced(lines):
    """[(policy, back-end, claim)], the unsafe ones first; [] if not all of them can be read."""
    unsafe = [(*match.groups(), "unsafe") for line in lines if (match := UNSAFE.search(line))]
    number, text = next((match.groups() for line in lines if (match := SAFE.search(line))), ("-1", ""))
    of = {policy: names.split(", ") for policy, names in SAFE_OF_POLICY.findall(text)}
    # "all" stands for the back-ends that this machine has: each of them is named, or unsafe with some policy (a
    # control).
    every = list(dict.fromkeys([flush for _, flush, _ in unsafe] + [n for names in of.values() for n in names if n != "all"]))
    safe = [(policy, flush, "safe") for policy, names in of.items() for flush in (every if names == ["all"] else names)]
    return unsafe + safe if len(safe) == int(number) else []


def list_pairs(config, patterns):
    """[(policy, back-end, claim)] of the pairs that match; if there are none, says why."""
    result = boot(config, "pairs", "", 1)
    pairs = announced(result.lines)
    if not result.ok or not pairs:
        run.say(f"torture: the run that lists the pairs has failed ({FOLDER}/pairs.log): {last_word(result)}")
        return []
    chosen = [pair for pair in pairs if any(fnmatch.fnmatch(f"{pair[0]}+{pair[1]}", p) for p in patterns)]
    if not chosen:
        there_are = ", ".join(f"{policy}+{flush}" for policy, flush, _ in pairs)
        run.say(f"torture: PAIRS=\"{' '.join(patterns)}\" matches none; there are: {there_are}")
    return chosen


def main():
    seconds = int(os.environ.get("SECONDS") or 30)
    patterns = sys.argv[1:] or ["*"]
    config = run.config_from_environment()
    os.makedirs(FOLDER, exist_ok=True)
    pairs = list_pairs(config, patterns)
    if not pairs:
        return 1
    expected = sum(5 + (seconds if claim == "safe" else 2) for _, _, claim in pairs)
    run.say(f"{len(pairs)} pairs, SMP={config.smp} ACCEL={config.accel}, about {expected // 60 + 1} min")
    failed = 0
    for number, (policy, flush, claim) in enumerate(pairs, 1):
        keys = f"table_free={policy} tlb_flush={flush}" + ("" if claim == "safe" else " allow_unsafe=1")
        result = boot(config, f"{policy}+{flush}", keys, seconds if claim == "safe" else CONVICT_SECONDS)
        failed += not result.ok
        run.say(f"[{number} of {len(pairs)}] {'ok    ' if result.ok else 'FAILED'} {policy} + {flush} ({claim}): "
                f"{last_word(result)}")
    run.say(f"serial logs in {FOLDER}/\n{len(pairs) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except machine.Unavailable as error:
        run.say(f"torture: {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        run.say("torture: interrupted")
        sys.exit(130)
