#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make convict: does the load of mode=compare notice when a step of a protocol is taken out? Each mutant of the table
below runs with SEEDS seeds (default 10), SECONDS each (default 30, of virtual time), in the host build under its
deterministic scheduler (HOW, default sched=random; HOW= for threads). Prints a table for docs/testing.md: in how many
runs a safe pair that the mutant concerns was convicted (a violation, or another error of the load), and by which
judgement; and in how many runs the unsafe control was convicted with every back-end. The first row is without a mutant:
no safe pair may be convicted in it. Arguments: globs of mutants' names. Logs: build/convict/. Fails if a safe pair is
convicted that the mutant does not concern."""
import fnmatch
import json
import os
import re
import shlex
import subprocess
import sys

FOLDER = "build/convict"
CONTROL = "immediate"
# The pairs whose walks or flushes take the step: (policies, a back-end); * stands for all.
CONCERNS = {
    "targeted_one_slot": (("targeted", "auto"), "*"),
    "flush_claims_targets": (("auto",), "*"),
    "proxy_read_side_ends_early": (("rcu-proxy",), "*"),
    "hazard_one_level": (("hazard",), "*"),
    "hazard_no_retry": (("hazard",), "*"),
    "epoch_no_enter": (("epoch",), "*"),
    "epoch_one_level": (("epoch",), "*"),
    "epoch_one_look": (("epoch",), "*"),
    "epoch_no_retry": (("epoch",), "*"),
    "keep_frees_aside": (("keep",), "*"),
    "keep_large_leaf_over_table": (("keep",), "*"),
    "rcu_fallback_no_sync": (("rcu",), "*"),
    "rcu_sync_fallback_no_wait": (("rcu-sync",), "*"),
    "rcu_page_head_in_table": (("rcu-page",), "*"),
    "collapse_no_wait": (("*",), "*"),
    "collapse_one_invlpg": (("*",), "*"),
    "collapse_keeps_upper": (("*",), "*"),
    "collapse_unlinks_late": (("*",), "*"),
    "tree_frees_before_unlink": (("*",), "*"),
    "tree_queues_before_unlink": (("*",), "*"),
    "gather_upper_at_once": (("*",), "*"),
    "space_evicts_last": (("*",), "*"),
    "space_freed_early": (("*",), "lazy"),
    "walk_no_leaf_recheck": (("*",), "*"),
    "walk_no_parent_recheck": (("*",), "*"),
    "walk_no_moves_recheck": (("*",), "*"),
    "page_get_resurrects": (("*",), "*"),
    "tlb_bit_last": (("*",), "*"),
    "lazy_no_settle": (("*",), "lazy"),
    "lazy_late_generation": (("*",), "lazy"),
    "nmi_late_ticket": (("*",), "nmi"),
    "flush_leaf_only": (("*",), "*"),
    "steal_plain_store": (("*",), "pv"),
    "move_flush_after_unlock": (("*",), "*"),
}
# What mm_load_print() says of a run that is not clean, beside the violations.
JUDGED = re.compile(r"(\d+) (pins of another's page|writes lost under a pin|stale reads|errors|tables that nobody frees)")


def concerns(mutant, verdict):
    policies, flush = CONCERNS.get(mutant, ((), ""))
    return ("*" in policies or verdict["table_free"] in policies) and flush in ("*", verdict["tlb_flush"])


class Run:
    """One run's findings."""

    def __init__(self, mutant, lines):
        self.convicted, self.control, self.by, self.innocent = False, True, set(), []
        for number, line in enumerate(lines):
            if "PANIC" in line:
                self.convicted = True
                self.by.add("panic")
            if not line.startswith("VERDICT "):
                continue
            verdict = json.loads(line[len("VERDICT "):])
            violated = verdict["found"] == "violated"
            concerned = concerns(mutant, verdict)
            if verdict["table_free"] == CONTROL:
                self.control = self.control and violated
            elif verdict["claimed"] == "safe" and violated:
                self.convicted = self.convicted or concerned
                if not concerned:
                    self.innocent.append(f"{verdict['table_free']}+{verdict['tlb_flush']}")
                self.by |= self.judgements(verdict, lines[max(number - 3, 0):number + 4])

    @staticmethod
    def judgements(verdict, around):
        found = {what for line in around for n, what in JUDGED.findall(line) if int(n)}
        return found | ({"violations"} if verdict["violations"] else set())


def play(mutant, seed, how, seconds):
    log = f"{FOLDER}/{mutant or 'none'}-{seed}.log"
    command = ["build/host/quiesce-host", *shlex.split(how), "mode=compare", f"seconds={seconds}", f"seed={seed}"]
    with open(log, "w", encoding="utf-8") as f:
        subprocess.run(command + ([f"mutant={mutant}"] if mutant else []), stdout=f, stderr=subprocess.STDOUT, check=False)
    with open(log, encoding="utf-8", errors="replace") as f:
        return Run(mutant, f.read().splitlines())


def row(mutant, seeds, how, seconds):
    runs = [play(mutant, seed, how, seconds) for seed in seeds]
    by = sorted(set().union(*(r.by for r in runs)))
    innocent = sorted({pair for r in runs for pair in r.innocent})
    pairs = "{}+{}".format(",".join(CONCERNS[mutant][0]), CONCERNS[mutant][1]) if mutant else "none"
    print(f"| {f'`{mutant}`' if mutant else 'none'} | `{pairs}` | {sum(r.convicted for r in runs)} | {', '.join(by) or '-'} | "
          f"{sum(r.control for r in runs)} |" + (f" ALSO: {', '.join(innocent)}" if innocent else ""), flush=True)
    return not innocent


def main():
    seeds = range(1, int(os.environ.get("SEEDS") or 10) + 1)
    how, seconds = os.environ.get("HOW", "sched=random"), os.environ.get("SECONDS") or "30"
    patterns = sys.argv[1:] or ["*"]
    mutants = [m for m in CONCERNS if any(fnmatch.fnmatch(m, p) for p in patterns)]
    if not mutants:
        print(f"convict: no mutant matches; there are: {', '.join(CONCERNS)}")
        return 1
    os.makedirs(FOLDER, exist_ok=True)
    print(f"{len(seeds)} seeds, {how or 'threads'}, seconds={seconds}")
    print("| step taken out | concerns | convicted | by | control convicted |\n| --- | --- | --- | --- | --- |")
    return 0 if all([row(m, seeds, how, seconds) for m in ["", *mutants]]) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
