#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make torture-all: mode=torture once for each pair of policy and flush back-end that this machine has, each in a boot of
its own. SECONDS= for each safe pair; an unsafe one must be convicted within CONVICT_SECONDS. The pairs are the kernel's:
a short first run prints them. Machine variables as for make run; arguments: globs of pairs, as "rcu*+pv"."""
import fnmatch
import os
import re
import sys

import machine
import run

CONVICT_SECONDS = 10
PAIR = re.compile(r"table_free=(\S+) tlb_flush=(\S+): (safe|unsafe): ")


def boot(config, keys, seconds):
    config.cmdline, config.timeout = f"mode=torture seconds={seconds} {keys}", 6 * seconds + 120
    return machine.run(config)


def last_word(result):
    """The kernel's closing sentence, and what it warned of."""
    said = [line[2:] for line in result.lines if line.startswith("# torture: ")]
    said += [line[2:] for line in result.lines if line.startswith(("# WARN", "# PANIC"))][:3]
    return "; ".join(said + ([] if result.ok else [result.sentence]))


def main():
    seconds = int(os.environ.get("SECONDS") or 30)
    patterns = sys.argv[1:] or ["*"]
    config = run.config_from_environment()
    pairs = [match.groups() for line in boot(config, "", 1).lines if (match := PAIR.search(line))]
    pairs = [pair for pair in pairs if any(fnmatch.fnmatch(f"{pair[0]}+{pair[1]}", p) for p in patterns)]
    longest = sum(seconds if claim == "safe" else CONVICT_SECONDS for _, _, claim in pairs)
    run.say(f"{len(pairs)} pairs, SMP={config.smp} ACCEL={config.accel}, about {(longest + 5 * len(pairs)) // 60 + 1} min")
    failed = 0 if pairs else 1
    for number, (policy, flush, claim) in enumerate(pairs, 1):
        keys = f"table_free={policy} tlb_flush={flush}" + ("" if claim == "safe" else " allow_unsafe=1")
        result = boot(config, keys, seconds if claim == "safe" else CONVICT_SECONDS)
        failed += not result.ok
        run.say(f"[{number} of {len(pairs)}] {'ok    ' if result.ok else 'FAILED'} {policy} + {flush} ({claim}): "
                f"{last_word(result)}")
    run.say(f"{len(pairs) - failed} passed, {failed} failed")
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
