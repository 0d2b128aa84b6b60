#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make mutants: each named breakage (MUTANT(), lab/mutant.h) in a kernel of its own runs the tests that should notice
it. A mutant is killed when one of them fails by a named assertion, for each of three seeds, while the same tests pass
without the mutant. A panic, a hang, or a run without a failed assertion does not count. Arguments: globs of mutants'
names; --quick: one seed, and one mutant of each part of the kernel; --ktap: report as tests."""
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
import machine
import matrix
import mishap
import patience
import test

SEEDS = (1, 2, 3)
JOBS = 2  # boots at a time
DEFINED = re.compile(r"^\s+(?:\} else )?(?:else )?if \(!?MUTANT\((\w+)\)", re.MULTILINE)
TEST = re.compile(r"# \[\d+/\d+\] (\S+)$")
ASSERTION = re.compile(r"# ERROR: (?:WARNING: )?(\w+/\S+?:\d+): (.*)")
HYPERV = {"accel": "nested", "cpu": "hyperv"}
XEN = {"accel": "xen"}

# {mutant: the tests that should notice it}. A mutant of the code that is missing here is an error, and so is one too
# many.
TESTS = {
    # The gather and the flush
    "gather_no_flush": "history.collapse*,adversary.*,stale.unmap_4k*",
    "gather_flush_last": "history.lazy_cpus_walk_too,adversary.*",
    "gather_upper_at_once": "history.upper_tables*",
    "gather_forgets_level": "space.t*,space_end.*",
    "no_flush_without_leaf": "history.no_leaf*",
    "flush_answers_early": "flush_early.tables*",
    "flush_leaf_only": "history.leaf_only*",
    "flush_skips_lazy": "history.lazy_cpus*",
    "flush_claims_targets": "proved.target*,stolen.flag_is_not*",
    "proof_unseen": "proved.false*",
    "tlb_no_catch_up": "adversary.lazy_cpu*",
    "tlb_bit_last": "history.mask_bit*",
    "tree_lower_entry_left": "history.hazard_detached*",
    "tree_frees_before_unlink": "history.unlinked_before_it_is_freed",
    "tree_queues_before_unlink": "history.unlinked_before_it_waits,history.flushed_before*",
    "space_evicts_last": "history.evicted_before*",
    "space_freed_early": "flush_lazy.what_another*",
    # Back-ends
    "nmi_no_flush": "flush_nmi.*root_is_loaded",
    "nmi_late_ticket": "adversary.request_while*",
    "lazy_no_settle": "flush_lazy.*settles*",
    "lazy_no_wait": "flush_lazy.*",
    "lazy_late_generation": "flush_lazy.claims*",
    "steal_no_flag": "adversary.robbed*,stolen.flag_is*",
    "steal_plain_store": "adversary.flag_lost*",
    "steal_no_flush": "adversary.robbed*",
    "hyperv_refuses": "nested.hyperv_forms",
    "xen_refuses": "nested.xen_calls*",
    "hyperv_claims_fallback": "flush_hypercall.served*",
    "xen_claims_fallback": "flush_hypercall.served*",
    # Policies
    "ipi_no_join": "history.remote_walker*",
    "batch_no_grace_period": "history.batch*",
    "rcu_page_no_grace_period": "history.table_freed*",
    "rcu_page_head_in_table": "history.table_is_not_written*",
    "rcu_fallback_no_sync": "history.fallback*",
    "rcu_sync_fallback_no_wait": "history.fallback*",
    "targeted_no_publish": "history.targeted_dekker",
    "targeted_one_slot": "history.targeted_nmi*",
    "proxy_read_side_ends_early": "rcu_proxy.flush*",
    "hazard_no_reread": "history.hazard_dekker",
    "hazard_one_level": "history.hazard_nmi*",
    "hazard_no_retry": "walk.hazard_retired*",
    "epoch_no_enter": "history.epoch_dekker",
    "epoch_one_level": "history.epoch_nmi*,history.epoch_interrupt*",
    "epoch_one_look": "walk.epoch_deferred*again",
    "epoch_no_retry": "walk.epoch_deferred*itself",
    "epoch_no_tick": "walk.epoch_no_grace*",
    "keep_frees_aside": "keep.table_makes*,keep.walker*",
    "keep_leaves_at_once": "keep.switch_waits*",
    "keep_no_prune_on_switch": "keep.switch_prunes",
    "keep_large_leaf_over_table": "keep.table_makes*,keep.subtree*",
    # The walk
    "walk_no_leaf_recheck": "walk.*pin",
    "walk_no_parent_recheck": "walk.*pin,history.walker_in*",
    "walk_no_moves_recheck": "walk.page_of_another*,walk.permission_of_another*",
    "page_get_resurrects": "page.references",
    "page_get_wraps": "page.references*,walk.pins_end*",
    # Whatever reuses tables
    "collapse_one_invlpg": "history.collapse_leaves*",
    "collapse_keeps_upper": "history.collapse_flushes_the*,history.collapse_waits_until*",
    "collapse_unlinks_late": "history.unlinked_before_the*",
    "collapse_no_wait": "history.collapse_waits*,history.reuse_waits*",
    "move_flush_after_unlock": "history.move_leaves*",
    "discard_no_recheck": "space_discard.*",
    "switch_no_union": "switch.union*",
    "switch_no_wait": "switch.grace*",
    "switch_no_drain": "switch.drain*",
    "switch_no_last_wait": "switch.record*",
    "pending_no_wait": "pending.bounded_for*",
    "credit_before_free": "pending.credit*",
    # Threads
    "waitq_keeps_wake_up": "sched.late_wake*",
    "futex_late_count": "futex.count*",
    "futex_requeue_unannounced": "futex.requeue_is*",
    "signal_no_pass_on": "signal.passed_on",
    # RCU
    "rcu_reader_is_quiescent": "rcu.waits_for*,rcu.reader*",
    "rcu_entry_unseen": "rcu.reader_on_idle*,rcu.entry*",
    "rcu_busy_is_idle": "rcu.waits_for*",
    "rcu_segment_early": "rcu.*,rcu_torture.*",
    "rcu_barrier_misses_a_cpu": "rcu.*barrier*,rcu_torture.*",
    "rcu_call_is_quiescent": "rcu.many_calls*",
    "rcu_exp_unasked": "rcu.expedited*",
    # The detectors themselves
    "oracle_one_context": "oracle.sees_a_walk*",
    "oracle_no_root": "oracle.finds_a_walker*",
    "oracle_freer_blind": "oracle.finds_a_walker*,walk.violation_seen*",
    "oracle_walker_blind": "oracle.table_that*,walk.violation_record",
    "oracle_kept_unseen": "oracle.table_that*",
    "oracle_no_birth": "oracle.table_of*",
    "oracle_no_target_unseen": "policy.walker_is*",
    "deposit_unseen": "oracle.table_that*",
    "reuse_unseen": "oracle.table_that*",
    "swmmu_no_reread": "adversary.nmi_in*",
    "swmmu_first_frame": "adversary.scans*",
    "swmmu_one_frame": "adversary.scans*",
    "swmmu_no_tables": "adversary.scans*",
    "swmmu_no_root": "adversary.scans*",
    "swmmu_counts_pending": "adversary.what_is_pending*",
    "swmmu_counts_debt": "adversary.scans*",
    "swmmu_counts_owed": "adversary.lazy_cpu*,adversary.robbed*",
    "swmmu_no_mark": "adversary.lazy_cpu*,adversary.robbed*",
    "swmmu_no_settle": "adversary.access*",
    "swmmu_keeps_debt": "adversary.what_was_vouched*",
    "swmmu_from_root": "adversary.walks_on*",
    "swmmu_not_quiet": "adversary.fills_at_random_beside*",
    "swmmu_pushes_out": "adversary.fills_at_random_beside*",
    "quarantine_no_grace_period": "walk.quarantine*",
    "quarantine_no_poison": "quarantine.holds*",
    "quarantine_forgives": "quarantine.finds_who*",
    "quarantine_reuses_hit": "quarantine.keeps*",
    "emptied_is_believed": "quarantine.finds_what*",
}
QUICK = ("gather_flush_last", "flush_skips_lazy", "steal_plain_store", "hazard_no_reread", "walk_no_leaf_recheck", "collapse_no_wait",
         "switch_no_union", "rcu_busy_is_idle")
OPTIONS = {"hyperv_refuses": HYPERV, "xen_refuses": XEN}


@dataclasses.dataclass
class Outcome:
    killed_by: str = ""  # "" : alive
    problem: str = ""
    seconds: float = 0.0


def defined():
    """{mutant: the files that have it}"""
    found = {}
    for folder in ("arch", "kernel", "lab", "mm", "proc", "sys"):
        for where, _, names in os.walk(folder):
            for name in sorted(names):
                if name.endswith((".c", ".h")):
                    with open(path := os.path.join(where, name), encoding="utf-8") as f:
                        for mutant in DEFINED.findall(f.read()):
                            found.setdefault(mutant, set()).add(path)
    return dict(sorted(found.items()))


def check_table(mutants):
    """Each mutant that only the code or only the table has, and what is wrong with it. A new policy or back-end needs
    no second file, so its mutants are skipped if the table has none of its file."""
    known = {path for name, paths in mutants.items() if name in TESTS for path in paths}
    wrong = {name: "is in tools/mutants.py but not in the code" for name in TESTS if name not in mutants}
    for name, paths in mutants.items():
        if name not in TESTS:
            new = all(path.startswith(("mm/policy/", "mm/flush/")) and path not in known for path in paths)
            skip = f"SKIP {matrix.NO_TESTS_OF}{', '.join(sorted(paths))}"
            wrong[name] = skip if new else "is not in tools/mutants.py"
    return wrong


def boot(mutant, tests, seed):
    config = machine.Config(smp=4, cmdline=f"mode=test test={tests} seed={seed}", **OPTIONS.get(mutant, {}))
    name = mutant or "none-" + re.sub(r"[^\w.]+", "_", tests)
    if mutant:
        config.iso = f"build/mutant-{mutant}/quiesce-check.iso"
    result = machine.run(config)
    with open(f"build/mutants/{name}-{seed}.log", "w", encoding="utf-8") as f:
        f.write("\n".join(result.lines) + "\n")
    return result


def first_assertion(lines):
    """The first failed assertion, with its test; "" if there is none before the end or before a panic. (It does not
    matter what a broken kernel does after the assertion.)"""
    running = ""
    for line in lines:
        if match := TEST.match(line):
            running = match[1]
        elif line.startswith("# PANIC"):
            break
        elif match := ASSERTION.match(line):
            return f"{running}: {match[1]}: {match[2]}"
    return ""


def judge(result):
    """(which assertion of which test has failed, what else is wrong with the run)"""
    killed = "" if result.ok else first_assertion(result.lines)
    if result.exit == 1 and (error := test.totals_error(result.lines, ktap.parse(result.lines))):
        return "", error
    if killed:
        return killed, ""
    if result.ok:
        return "", "alive: every test passed"
    return "", f"no assertion failed, but: {result.sentence}"


BUILDING = threading.Lock()


def build(mutant):
    with BUILDING:
        done = subprocess.run(["make", "--no-print-directory", "-j2", f"MUTANT={mutant}", "all"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return "" if done.returncode == 0 else f"does not build: {' | '.join(done.stdout.splitlines()[-10:])}"


UNMUTATED = {}


def passes_unmutated(mutant, tests, seed):
    """Do the same tests pass without the mutant? "" or what is wrong. They run once for all mutants that use them."""
    key = (tests, seed)
    if key not in UNMUTATED:
        result = boot("", tests, seed) if mutant not in OPTIONS else machine.run(
            machine.Config(smp=4, cmdline=f"mode=test test={tests} seed={seed}", **OPTIONS[mutant]))
        UNMUTATED[key] = "" if result.ok else f"fails without the mutant: {judge(result)[0] or result.sentence}"
    return UNMUTATED[key]


def examine(mutant, seeds):
    start, outcome = time.monotonic(), Outcome()
    machine.check_available(machine.Config(**OPTIONS.get(mutant, {})))
    outcome.problem = build(mutant)
    for seed in () if outcome.problem else seeds:
        outcome.problem = passes_unmutated(mutant, TESTS[mutant], seed)
        if outcome.problem:
            break
        killed, outcome.problem = judge(boot(mutant, TESTS[mutant], seed))
        outcome.killed_by = outcome.killed_by or killed
        if not killed:
            outcome.problem = f"seed {seed}: {outcome.problem}"
            break
    outcome.seconds = time.monotonic() - start
    return outcome


def attempt(mutant, seeds):
    """examine(), which may raise: then that is this mutant's problem."""
    try:
        return examine(mutant, seeds)
    except machine.Lacking as error:
        return Outcome(problem=f"SKIP {machine.LACKS}what {mutant} runs on: {error}")
    except machine.Unavailable as error:
        return Outcome(problem=str(error))
    except mishap.ANY as error:
        return Outcome(problem=" | ".join([mishap.sentence(error), *mishap.details(error)]))


def line_of(mutant, outcome):
    if outcome.problem.startswith("SKIP"):
        return f"skipped  {mutant}: {outcome.problem[5:]}"
    if outcome.problem:
        return f"FAILED   {mutant}: {outcome.problem}"
    return f"killed   {mutant}: by {outcome.killed_by} ({outcome.seconds:.0f} s)"


def say(text):
    print(text, flush=True)


def report_ktap(number, mutant, outcome):
    say(f"# {line_of(mutant, outcome)}")
    skip = f" # SKIP {outcome.problem[5:]}" if outcome.problem.startswith("SKIP") else ""
    say(f"{'not ok' if outcome.problem and not skip else 'ok'} {number} mutants.{mutant}{skip}")


def main():
    options = {a for a in sys.argv[1:] if a.startswith("--")}
    patterns = [a for a in sys.argv[1:] if not a.startswith("--")] or (list(QUICK) if "--quick" in options else ["*"])
    wrong = check_table(defined())
    mutants = sorted(wrong) + [m for m in TESTS if m not in wrong and any(fnmatch.fnmatch(m, p) for p in patterns)]
    if not mutants:
        say(f"mutants: no mutant matches; there are: {', '.join(TESTS)}")
        return 1
    seeds = SEEDS[:1] if "--quick" in options else SEEDS
    os.makedirs("build/mutants", exist_ok=True)
    if "--ktap" in options:
        say(f"KTAP version 1\n1..{len(mutants)}")
    failed, skipped, start = 0, 0, time.monotonic()
    with patience.interruptible(concurrent.futures.ThreadPoolExecutor(JOBS)) as pool:
        runs = [(m, None if m in wrong else pool.submit(attempt, m, seeds)) for m in mutants]
        for number, (mutant, run) in enumerate(runs, 1):
            outcome = run.result() if run else Outcome(problem=wrong[mutant])
            skipped += outcome.problem.startswith("SKIP")
            failed += bool(outcome.problem) and not outcome.problem.startswith("SKIP")
            if "--ktap" in options:
                report_ktap(number, mutant, outcome)
            else:
                say(f"[{number} of {len(mutants)}] {line_of(mutant, outcome)}")
    if "--ktap" not in options:
        say(f"{len(mutants)} mutants, {skipped} skipped, {len(seeds)} seeds each, {time.monotonic() - start:.0f} s; serial logs in build/mutants/")
        say(f"{len(mutants) - failed - skipped} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("mutants: interrupted")
        sys.exit(130)
