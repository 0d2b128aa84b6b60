#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks that need no boot, as KTAP: the sources keep their rules (rules.py), the builds are what they should be
(builds.py), and the tools that judge the other tests fail what they must fail. Run from the top of the tree, after make.
With the argument "logs" it checks the serial logs that the configurations `verdicts` and `times` have left."""
import contextlib
import io
import json
import os
import re
import subprocess
import sys
import unittest.mock

import axes
import bochs
import builds
import events
import hist
import host
import ktap
import machine
import matrix
import nested
import qemu
import results
import rules
import stuck
import summary
import table
import torture
from comparison import BY_PAIR, Comparison
from selftests import selftest

LOGS = "build/test/verdicts.log", "build/test/times.log"
LOG_SUITE = selftest.Suite("table")
test, log_test = rules.suite.test, LOG_SUITE.test


def report(*lines):
    return ktap.parse(lines)


@test
def ktap_counts():
    r = report("noise", "KTAP version 1", "1..3", "ok 1 a.x", "# [2/3] a.y", "# ERROR: why", "not ok 2 a.y",
               "ok 3 a.z # SKIP no luck")
    want = (["a.x"], [("a.y", ["# [2/3] a.y", "# ERROR: why"])], [("a.z", "no luck")], [])
    return [] if (r.passed, r.failed, r.skipped, r.errors) == want else [str(r)]


@test
def ktap_nested_suites_count_their_tests():
    r = report("KTAP version 1", "1..2", "  KTAP version 1", "  1..2", "  ok 1 t", "  not ok 2 u", "not ok 1 suite",
               "ok 2 v")
    return [] if (r.passed, [f[0] for f in r.failed], r.errors) == (["t", "v"], ["u"], []) else [str(r)]


@test
def ktap_defects_are_errors():
    defects = {
        "nothing": [],
        "no plan": ["KTAP version 1", "ok 1 a"],
        "truncated": ["KTAP version 1", "1..2", "ok 1 a"],
        "too many": ["KTAP version 1", "1..1", "ok 1 a", "ok 2 b"],
        "out of order": ["KTAP version 1", "1..2", "ok 2 a", "ok 1 b"],
        "nested truncated": ["KTAP version 1", "1..1", "  KTAP version 1", "  1..2", "  ok 1 t", "ok 1 suite"],
        "version": ["KTAP version 2", "1..1", "ok 1 a"],
    }
    return [name for name, lines in defects.items() if not report(*lines).errors]


@test
def unexpected_skips_are_told_from_expected_ones():
    one, four = (matrix.Run("x", 1, machine.Config(smp=n)) for n in (1, 4))
    right = matrix.skip_is_expected(one, "needs 2 CPUs") and not matrix.skip_is_expected(four, "needs 2 CPUs")
    return [] if right and not matrix.skip_is_expected(one, "") else ["skip_is_expected"]


@test
def exits_are_told_apart():
    wrong = []
    for status, lines, part in (
        (33, ["quiesce: exit 0"], "success"), (35, ["quiesce: exit 1"], "tests failed"), (39, [], "panic"),
        (0, ["x"], "reset"), (0, ["quiesce: exit 0"], "powered off"), (None, ["y"], "time-out: asleep"),
        (1, ["no such machine"], "no such machine"), (-9, [], "signal 9"), (31, [], "the domain shut down"),
    ):
        sentence = qemu.sentence_of(status, lines, "asleep")
        if part not in sentence:
            wrong.append(f"{status}: {sentence}")
    return wrong


@test
def ends_of_bochs_are_told_apart():
    wrong = []
    for exit_status, why, lines, panic, screen, part in (
        (0, "", ["quiesce: exit 0"], "", "", "success"), (3, "", ["quiesce: exit 3"], "", "", "panic"),
        (None, "asleep", ["x"], "", "", "time-out: asleep"), (None, "", ["x"], "", "", "powered off"),
        (None, "", ["x"], "exception(): 3rd (13) exception with no resolution", "", "3rd (13)"),
        (None, "", [], "", "unknown CPU model", "unknown CPU model"),
    ):
        sentence = bochs.sentence_of(exit_status, why, lines, panic, screen)
        if part not in sentence:
            wrong.append(f"{exit_status}, {why}, {lines}: {sentence}")
    return wrong


# What QEMU's monitor said of a run that hung in this way.
L1_CPU = """CPU#0
RAX=00000000474f6000 RBX=000000001efe7fdb RCX=000000001efe9330 RDX=000000001efe7fdb
RSI=0000000000001060 RDI=0000000000000000 RBP=0000000000000000 RSP=ffffc900003ebce0
RIP=ffffffffc032ddcc RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=0
CR0=80050033 CR2=0000000000000000 CR3=00000000044a8000 CR4=00750eb0
EFER=0000000000001d01"""
L2_CPU = """CPU#0
EAX=474f6000 EBX=1efe7fdb ECX=1efe9330 EDX=1efe7fdb
EIP=c032ddcc EFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=0
CR0=80050033 CR2=00000000 CR3=044a8000 CR4=00000000
EFER=0000000000000000"""


@test
def a_guest_lost_by_the_emulation_is_told_from_one_that_hangs():
    def lost(l2):
        said = [("QEMU", L1_CPU), ("L2's QEMU", l2)]
        return stuck.lost_guest([f"# stuck: {whose}: {line}" for whose, text in said
                                 for line in stuck.registers(text.splitlines(), stuck.Symbols("nowhere"))])
    wrong = [] if lost(L2_CPU) else ["L1's registers in L2 are not seen"]
    for what, old, new in (("its own root", "CR3=044a8000", "CR3=0044a900"), ("no root", "CR3=044a8000", "CR3=00000000"),
                           ("its own text", "EIP=c032ddcc", "RIP=ffffffff8016e0a7")):
        if lost(L2_CPU.replace(old, new)):
            wrong.append(f"a guest with {what} counts as lost")
    return wrong


@test
def an_interrupt_lost_by_the_emulation_is_told_from_an_idle_cpu():
    def lost(*looks):
        lines = []
        for halted, flags, vectors in looks:
            lines += [f"# stuck: QEMU: CPU#0 RIP=ffffffff81a17a0b RFL={flags} HLT={halted} CR0=80050033",
                      f"# stuck: QEMU: lapic 0: LVTT 0x000000ec; ISR (none); IRR {vectors}; APR 0x00 TPR 0x10"]
        return stuck.lost_interrupt(lines)
    waits, off = (1, "00000246", "236 251"), (1, "00000046", "236 251")
    wrong = [] if lost(waits, waits) else ["not seen"]
    for other in (off, (0, "00000246", "236 251"), (1, "00000246", "(none)"), (1, "00000246", "236")):
        wrong += [f"{other} counts as lost"] if lost(waits, other) or lost(other, waits) else []
    return wrong + (["one look is enough"] if lost(waits) else [])


@test
def what_l1_says_is_told_from_what_l2_did():
    wrong, shut = [], "nested: vcpu 0 shut down at "
    lockup = "[  152.657082] watchdog: BUG: soft lockup - CPU#0 stuck for 131s! [qemu-system-x86:95]"
    for judge, said, expected in ((stuck.lost_and_shut_down, f"{shut}ffffffffc032ddcc", True), (stuck.locked_up, lockup, True),
                                  (stuck.lost_and_shut_down, f"{shut}c032ddcc", True),
                                  (stuck.lost_and_shut_down, f"{shut}ffffffff8016e0a7", False),
                                  (stuck.lost_and_shut_down, f"{shut}4000c032ddcc", False),
                                  (stuck.lost_and_shut_down, lockup, False), (stuck.locked_up, f"{shut}c032ddcc", False),
                                  (stuck.locked_up, "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", True),
                                  (stuck.locked_up, "kvm: BUG of the guest", False)):
        if bool(judge([f"# stuck: L1: {said}"])) != expected:
            wrong.append(f"{judge.__name__}: {said}")
        if judge([f"# {said}"]):  # a line of the guest proves nothing
            wrong.append(f"{judge.__name__}, by the guest: {said}")
    return wrong


@test
def the_first_cpu_of_l1_runs_no_guest():
    """Its flags are not safe from the other CPUs (nested.py)."""
    words = nested.l2_script(["qemu"]).split()
    cpus = [cpu for cpu in range(64) if int(words[words.index("taskset") + 1], 16) >> cpu & 1]
    return [] if cpus == list(range(1, nested.L1_CPUS)) and len(cpus) == nested.L2_CPUS else [f"{words}: CPUs {cpus}"]


@test
def a_run_that_has_failed_a_test_is_not_made_again():
    lockup = "# stuck: L1: watchdog: BUG: soft lockup - CPU#0 stuck for 131s!"
    again = qemu.broken_emulation(["ok 1 a", lockup])
    return ([] if again else ["no evidence seen"]) + \
           [f"made again after {line}" for line in ("    not ok 1 a", "# PANIC: page fault", "# torture: 2 violations, 3 rounds")
            if qemu.broken_emulation([line, lockup])]


@test
def a_run_lost_by_the_emulation_is_made_again_once():
    def runs(*endings, accel="nested"):
        """(how many runs are made if they end with these lines, whether the last one is good, whether it was
        announced)"""
        left, said = list(endings), []
        made = lambda *_: machine.Result(0 if not left[0] else None, "", [left.pop(0)], 1.0)
        with unittest.mock.patch.object(qemu, "run_once", made):
            result = qemu.run(machine.Config(accel=accel), said.append)
        return len(endings) - len(left), result.ok, any("made again" in line for line in said)
    lost, hangs = "# stuck: L1: nested: vcpu 0 shut down at ffffffffc032ddcc", "# stuck: QEMU: VM status: running"
    wrong = []
    for expected, endings, accel in (((2, True, True), (lost, ""), "nested"), ((2, False, True), (lost, lost, ""), "nested"),
                                     ((2, False, True), (lost, hangs, ""), "nested"), ((1, False, False), (hangs, ""), "nested"),
                                     ((1, True, False), ("", ""), "nested"), ((1, False, False), (lost, ""), "tcg")):
        if (found := runs(*endings, accel=accel)) != expected:
            wrong.append(f"{endings} under {accel}: {found}")
    return wrong


@test
def what_is_stuck_is_named():
    symbols = stuck.Symbols("build/quiesce-check.elf")
    address, name = symbols.functions[len(symbols.functions) // 2]
    line, = stuck.registers(L1_CPU.replace("ffffffffc032ddcc", f"{address + 1:016x}").splitlines(), symbols)
    wrong = [] if line.endswith(f" {name}+0x1") and " HLT=0 " in line else [line]
    threads = list(stuck.threads(os.getpid()))
    wrong += [] if threads and all(" % of a processor" in line for line in threads) else threads or ["no thread"]
    mute = list(stuck.monitor("build/no-such-monitor", symbols))
    return wrong + ([] if len(mute) == 1 and "cannot be reached" in mute[0] else mute)


def verdict(policy, claimed, found, flush="ipi"):
    counters = "violations walks fast slow remote frees_l1 frees_l2 frees_l3 frees_during_walk".split()
    pair = {"table_free": policy, "tlb_flush": flush, "claimed": claimed, "found": found}
    return "VERDICT " + json.dumps(pair | dict.fromkeys(counters, 1))


def bench(name, policy, cpus):
    return "BENCH " + json.dumps({"name": name, "table_free": policy, "tlb_flush": "ipi", "cpus": cpus, "others": 0,
                                  "stolen_us": 0, "median": 5})


def report_on(lines):
    """(status, text) of the table."""
    with contextlib.redirect_stdout(io.StringIO()) as text:
        return table.print_report(lines), text.getvalue()


def status_of_report(*verdicts, cpus=2, timed=("immediate", "rcu")):
    names = {name for _, name, _, _ in BY_PAIR}
    return report_on([*verdicts, *(bench(name, policy, cpus) for name in names for policy in timed)])[0]


@test
def table_fails_what_contradicts_its_claim():
    control, clean = verdict("immediate", "unsafe", "violated"), verdict("rcu", "safe", "clean")
    cases = (
        (0, status_of_report(clean, control)),
        (1, status_of_report(verdict("rcu", "safe", "violated"), control)),
        (1, status_of_report(verdict("rcu", "safe", "inconclusive"), control)),
        (1, status_of_report(clean, verdict("immediate", "unsafe", "clean"))),
        (0, status_of_report(verdict("rcu", "safe", "inconclusive"), control, cpus=1)),
        (1, status_of_report("VERDICT {broken")),
        (1, status_of_report()),
        (1, status_of_report(clean)),
        (1, status_of_report(control)),
        (1, status_of_report(clean, timed=("rcu",))),
        (1, status_of_report(control, timed=("immediate",))),
        (1, status_of_report(clean, control, timed=("immediate",))),
        (1, status_of_report(clean, control, timed=("immediate", "rcu", "ipi"))),
    )
    return [f"case {i}: {got}" for i, (want, got) in enumerate(cases) if want != got]


@test
def a_comparison_without_times_is_complete_only_where_none_were_to_be_measured():
    lines = [verdict("immediate", "unsafe", "violated"), verdict("rcu", "safe", "clean")]
    try:
        wrong = [f"{Comparison(results.parse(lines)).conclusion()}"]
    except results.Broken:
        wrong = []
    untimed = Comparison(results.parse(lines), timed=False)
    shown = table.full(untimed) + summary.lines(untimed)
    wrong += [line for line in shown if line.startswith("Times in")] + ([] if untimed.conclusion()[0] == 0 else shown)
    unproven = Comparison(results.parse(lines[1:]), timed=False)
    return wrong + ([] if unproven.conclusion()[0] == 1 else ["without a control"])


@test
def a_pair_that_is_not_judged_as_claimed_is_noticed():
    """matrix.py judges made-up logs of the configuration `verdicts`, with all pairs except those with `hyperv`."""
    policies, backends = axes.policies(), axes.backends()
    lines, lacking = [], "# INFO: tlb_flush=hyperv is not to be had: no guest of Hyper-V"
    for p in policies:
        claims = {b: axes.is_safe(policies[p], backends[b]) for b in backends if b != "hyperv"}
        lines += [verdict(p, "safe" if safe else "unsafe", "clean" if safe else "violated", b) for b, safe in claims.items()]
        lines.append(f"# {p} {' '.join('clean' if safe else 'violated' for safe in claims.values())}")
    cases = [(lines, "no verdict on "), (lines + [lacking], ""),
             (lines + [lacking, lacking.replace("hyperv", "nmi")], "tlb_flush=nmi is not to be had"),
             (lines + [lacking, verdict("rcu", "unsafe", "violated")], "rcu + ipi: unsafe, violated, not safe, clean"),
             (lines + [lacking, verdict("rcu", "safe", "clean", "new")], "rcu + new: safe, clean, not a pair of the tree")]
    for number, line in enumerate(lines):
        what = "not in the short table: " if line.startswith("#") else "no verdict on "
        cases.append((lines[:number] + lines[number + 1:] + [lacking], what))
    found = [(what, "; ".join(matrix.verdict_errors(some))) for some, what in cases]
    return [f"{what or 'nothing wrong'}: {text}" for what, text in found if bool(what) != bool(text) or what not in text]


def log_lines():
    lines = []
    for path in LOGS:
        with open(path, encoding="utf-8") as f:
            lines += f.read().splitlines()
    return lines


@log_test
def a_table_comes_out():
    done = subprocess.run([sys.executable, "tools/table.py"], input="\n".join(log_lines()), capture_output=True,
                          text=True)
    wanted = ["Verdicts", *(title for title, _, _, _ in BY_PAIR), "Stolen time", "Bystanders",
              "lockless walk, undisturbed", "table_free=rcu", "CPUs at work", "independent of the policy", "found safe",
              "Every claim was confirmed"]
    return [f"the table says nothing of: {text}" for text in wanted if text not in done.stdout] + (
        [f"status {done.returncode}: {(done.stdout + done.stderr)[-500:]}"] if done.returncode else [])


@log_test
def no_line_may_be_missing():
    """If any one verdict, or the figures of any one pair, are missing, the table fails and names the pair."""
    lines, wrong = [line for line in log_lines() if line.startswith(("VERDICT ", "BENCH "))], []
    pairs = [(v["table_free"], v["tlb_flush"], v["claimed"]) for run in results.parse(lines) for v in run.verdicts]
    for policy, flush, claimed in pairs:
        of_pair = f'"table_free":"{policy}","tlb_flush":"{flush}"'
        for kind in ("VERDICT", "BENCH") if claimed == "safe" else ("VERDICT",):
            status, text = report_on([line for line in lines if not (line.startswith(kind) and of_pair in line)])
            if status != 1 or not re.search(rf"incomplete:.* {policy} \+ {flush}\b", text):
                wrong.append(f"without the {kind} lines of {policy} + {flush}: status {status}")
    return wrong if pairs else ["no verdicts"]


@log_test
def pairs_are_announced_in_short():
    """The safe ones in one line, each unsafe one in a line with its reason."""
    lines = log_lines()
    wrong, (safe, *_) = [], [line for line in lines if " are safe: " in line] or [""]
    for v in (v for run in results.parse(lines) for v in run.verdicts):
        policy, flush = v["table_free"], v["tlb_flush"]
        of_policy = re.search(rf"[:,] {policy} \(([\w, ]+)\)", safe)
        told_safe = bool(of_policy) and (of_policy[1] == "all" or flush in of_policy[1].split(", "))
        told_unsafe = any(line.startswith(f"# INFO: table_free={policy} tlb_flush={flush}: unsafe: ") for line in lines)
        if (told_safe, told_unsafe) != (v["claimed"] == "safe", v["claimed"] == "unsafe"):
            wrong.append(f"{policy} + {flush} is {v['claimed']}; announced as safe {told_safe}, as unsafe {told_unsafe}")
    of_torture = set(torture.announced(lines))  # make torture-all reads them as well
    judged = {(v["table_free"], v["tlb_flush"], v["claimed"]) for run in results.parse(lines) for v in run.verdicts}
    if judged - of_torture:
        wrong.append(f"make torture-all would not run {judged - of_torture}")
    return wrong + [line for line in lines if line.startswith("# INFO: table_free=") and ": unsafe: " not in line]


@log_test
def each_measurement_has_its_distribution():
    wrong = []
    for path in LOGS:
        with open(path, encoding="utf-8") as f:
            wrong += [f"{path}: {text}" for text in hist.line_errors(f.read().splitlines())]
    return wrong[:10]


# What is measured with two CPUs: by the release build, and by the checking build.
NAMES = {"unmap_page", "unmap_8", "unmap_64", "unmap_512", "unmap_kept", "protect_page", "map_page", "collapse",
         "space_exit", "walk", "walk_remote", "walk_contended", "walk_16", "walk_512", "call_empty", "loads4",
         "grace_period", "expedited", "rcu_barrier", "map_touch_unmap", "pages_held", "unmap_stolen", "unmap_longest",
         "bystander", "bystander_lazy", "bystander_elsewhere", "scale_disjoint", "scale_shared", "scale_walkers",
         "scale_walk", "irqs_off", "irqs_off_max"}


@log_test
def what_was_to_be_measured_was():
    """All names are there, except those that the kernel says it left out on a busy host. And as many tables are freed
    as must be: those of the operation, and at most one root more for each sample."""
    lines = log_lines()
    bench = [b for run in results.parse(lines) for b in run.bench]
    left_out = {m[1] for line in lines if (m := re.match(r"# INFO: (scale_\w+): \d+ of \d+ cases left out ", line))}
    left_out |= {"scale_walk"} if "scale_walkers" in left_out else set()
    wrong = [f"no measurement of {name}" for name in sorted(NAMES - left_out - {b["name"] for b in bench})]
    for b in bench:
        least = {"unmap_kept": 0, "unmap_page": 3000, "unmap_8": 3000, "unmap_64": 3000, "unmap_512": 3000,
                 "space_exit": 4000}.get(b["name"])
        least = 0 if least and b["name"].startswith("unmap_") and b["table_free"] in axes.floors() else least
        if least is not None and not least <= b["tables_freed_per_1000"] <= (least and least + 1000):
            wrong.append(f"tables freed by 1,000 times {b['name']}: {b['tables_freed_per_1000']} ({b['table_free']} + "
                         f"{b['tlb_flush']}, {b['pages']} pages, {b['others']} others)")
        if b["name"] == "unmap_kept" and b["tlb_flush"] in events.INTERRUPTING:
            # Each other CPU is interrupted, unless something else runs there just then. Both figures are rounded down.
            told = b["ipi_flush_per_1000"] + b["lazy_skipped_per_1000"]
            if told < 1000 * b["others"] - 1:
                wrong.append(f"{b['name']} with {b['others']} others: by 1,000 times {told} are told or need not be")
    return wrong


@log_test
def bystanders_and_thefts_add_up():
    bench = [b for run in results.parse(log_lines()) for b in run.bench]
    return [*events.bystander_errors(bench), *events.stolen_errors(bench), *events.waits_errors(bench)]


@test
def disagreeing_distributions_are_noticed():
    values = [5] * 40 + [300, 301] * 30 + [10 ** 6] * 20
    of_hist = dict.fromkeys(hist.IDENTITY, 1) | {"n": len(values), "min": 5, "max": 10 ** 6, "sum": sum(values), "bits": 6,
                                                 "buckets": [[5, 40], [203, 60], [hist.bucket_of(10 ** 6), 20]]}
    of_bench = of_hist | {"median": 301, "p50": 301, "p90": hist.quantile(of_hist, 9, 10), "p99": None, "p999": None}
    errors = []
    if hist.disagreements(of_bench, of_hist):
        errors.append(f"right, but: {hist.disagreements(of_bench, of_hist)}")
    for key, value in (("n", 119), ("min", 6), ("max", 2), ("sum", 10), ("bits", 5), ("buckets", [[5, 39], [203, 61]]),
                       ("buckets", [[203, 60], [5, 40], [hist.bucket_of(10 ** 6), 20]])):
        if not hist.disagreements(of_bench, of_hist | {key: value}):
            errors.append(f"{key} = {value} in the histogram was not noticed")
    if hist.disagreements(of_bench | {"usual": 5}, of_hist) == hist.disagreements(of_bench | {"usual": 300}, of_hist):
        errors.append("usual = 5 was taken for the value of most")
    for key, value in (("name", 2), ("p50", 302), ("p90", None), ("p99", 5)):
        if not hist.disagreements(of_bench | {key: value}, of_hist):
            errors.append(f"{key} = {value} in the measurement was not noticed")
    pair = ["HEADER {}", "BENCH " + json.dumps(of_bench), "HIST " + json.dumps(of_hist)]
    for lines, right in ((pair, True), (pair[1:], False), (pair[:2], False), (pair + pair, False), (pair + pair[1:], True)):
        if bool(hist.line_errors(lines)) == right:
            errors.append(f"{len(lines)} lines: {hist.line_errors(lines)}")
    return errors


if __name__ == "__main__":
    sys.exit(selftest.main(*((LOG_SUITE,) if sys.argv[1:] == ["logs"] else (rules.suite, builds.suite))))
