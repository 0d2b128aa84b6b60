# SPDX-License-Identifier: MIT
"""Tests of the tools that run the other tests: whatever breaks in one part is a failure of that part, with its name,
and the others go on; a process that hangs is ended, and one that waits for a busy host is not."""
import contextlib
import io
import itertools
import os
import pty
import subprocess
import sys
import tempfile
import threading
import time
import unittest.mock

import bochs
import chromium
import fuzz
import hosted
import ktap
import machine
import matrix
import models
import mutants
import patience
import qemu
import scale
import test as test_py
import torture
from selftests import check_test_all
from selftests import selftest
from selftests.selftest import lacking, said_by

SURVIVES, HANGS = selftest.Suite("survives"), selftest.Suite("hangs")
patch = unittest.mock.patch.object
GOOD = (sys.executable, "-c", "print('KTAP version 1\\n1..1\\nok 1 good')")


def broken(*_, **__):
    raise KeyError("broken on purpose")


# ---- One broken configuration of make test --------------------------------------------------------------------------

def outcomes_of(*runs):
    """The outcomes in make test of these runs, and of one more, which passes."""
    with tempfile.TemporaryDirectory() as folder, patch(test_py, "FOLDER", folder), \
            contextlib.redirect_stdout(io.StringIO()):
        return test_py.execute_all([*runs, matrix.Run("good", 1, command=GOOD)], unittest.mock.Mock())


def one_failure(run, *parts):
    """The run must fail once, with these words, and the run behind it must pass. What is wrong, as lines."""
    bad, good = outcomes_of(run)
    wrong = [] if good.passed == 1 and not good.failed else ["the run behind it did not pass"]
    if len(bad.failed) != 1 or bad.skipped:
        return wrong + [f"failed {bad.failed}, skipped {bad.skipped}"]
    what, details = bad.failed[0]
    return wrong + lacking([what, *details], *parts)


@SURVIVES.test
def a_command_that_does_not_exist():
    run = matrix.Run("x", 1, command=("/nonexistent/program",))
    return one_failure(run, "FileNotFoundError", "/nonexistent/program")


@SURVIVES.test
def an_emulator_module_that_raises():
    with patch(machine, "emulator", return_value=unittest.mock.Mock(run=broken)):
        return one_failure(matrix.Run("x", 1, machine.Config()), "KeyError", "broken on purpose", "in broken")


@SURVIVES.test
def a_tool_that_exits():
    with patch(matrix, "prepare", side_effect=lambda run, _: sys.exit("bye") if run.name == "x" else None):
        return one_failure(matrix.Run("x", 1, command=GOOD), "SystemExit: bye")


@SURVIVES.test
def a_light_run_beside_others():
    with patch(machine, "emulator", return_value=unittest.mock.Mock(run=broken)):
        runs = [matrix.Run(f"x{i}", 1, machine.Config(), light=True) for i in range(3)]
        *bad, good = outcomes_of(*runs)
    return [] if [len(o.failed) for o in bad] == [1, 1, 1] and good.passed == 1 else [f"{[o.failed for o in bad]}"]


@SURVIVES.test
def light_runs_go_two_at_a_time_and_others_alone():
    """In their order. A light run waits here until another one is under way; beside a heavy one none is."""
    together, under_way, seen = threading.Barrier(2), set(), []

    def execute(run, _):
        under_way.add(run.name)
        if run.light:
            together.wait(600)
        else:
            time.sleep(0.05)
            seen.append(sorted(under_way))
        under_way.discard(run.name)
        return run.name

    runs = [matrix.Run(name, 1, light=name.islower()) for name in ("A", "b", "c", "D", "E", "f", "g", "h", "i", "J")]
    with patch(test_py, "execute", execute):
        outcomes = test_py.execute_all(runs, None)
    wrong = [] if outcomes == [run.name for run in runs] else [f"{outcomes}"]
    return wrong + ([] if seen == [["A"], ["D"], ["E"], ["J"]] else [f"under way: {seen}"])


@SURVIVES.test
def where_nothing_has_passed_make_test_fails():
    """Though nothing has failed either."""
    skips = ("sh", "-c", f"echo KTAP version 1; echo 1..1; echo 'ok 1 a # SKIP {machine.LACKS}all'")
    found = {}
    for name, command in (("good", GOOD), ("skips", skips)):
        with tempfile.TemporaryDirectory() as folder, patch(test_py, "FOLDER", folder), \
                patch(matrix, "MATRIX", [matrix.Run("x", 1, command=command)]), patch(sys, "argv", ["test"]), \
                patch(test_py, "Progress", unittest.mock.Mock()) as progress:
            progress.return_value.start = 0
            status, lines = said_by(test_py.main)
        found[name] = status, lines[-1]
    return [] if found == {"good": (0, "1 passed, 0 failed"), "skips": (1, "0 passed, 0 failed")} else [f"{found}"]


@SURVIVES.test
def what_a_sanitizer_has_found_fails_a_run_that_ends_well():
    said = "WARNING: ThreadSanitizer: data race (pid=1)", "a.c:1:2: runtime error: signed integer overflow"
    commands = [("sh", "-c", 'echo "$0"; exec "$@"', text, *GOOD) for text in said]
    return [line for text, command in zip(said, commands)
            for line in one_failure(matrix.Run("x", 1, command=command), "1 reports of a sanitizer", text)]


def skipped(run, part):
    bad, good = outcomes_of(run)
    right = len(bad.skipped) == 1 and part in bad.skipped[0][1] and not bad.failed and good.passed == 1
    return [] if right else [f"{run.config}: skipped {bad.skipped}, failed {bad.failed}"]


@SURVIVES.test
def no_pseudo_terminal_is_a_skip():
    run = matrix.Run("x", 1, machine.Config(emulator="bochs"))
    with patch(pty, "openpty", side_effect=OSError("out of pty devices")), \
            patch(bochs, "check_available"), patch(bochs, "command", return_value=[]):
        return skipped(run, "lacks pseudo-terminals, which Bochs draws on: out of pty devices")


@SURVIVES.test
def what_the_machine_lacks_is_a_skip():
    wrong = []
    with patch(bochs.shutil, "which", return_value=None):
        wrong += skipped(matrix.Run("x", 1, machine.Config(emulator="bochs")), "lacks Bochs")
    with patch(qemu.os, "access", return_value=False), patch(qemu.shutil, "which", return_value="here"):
        wrong += skipped(matrix.Run("x", 1, machine.Config(accel="kvm")), "/dev/kvm")
    with patch(chromium.shutil, "which", return_value=None):
        try:
            chromium.Browser()
        except chromium.Lacking as error:
            wrong += [] if str(error).startswith(machine.LACKS) else [str(error)]
    with patch(fuzz.shutil, "which", return_value=None):
        wrong += lacking(said_by(fuzz.short_run)[1], f"ok 1 fuzz # SKIP {machine.LACKS}clang")
    with patch(fuzz.subprocess, "run", return_value=unittest.mock.Mock(returncode=1)):
        wrong += lacking([fuzz.lacking()], "-fsanitize=fuzzer")
    command = matrix.Run("x", 1, command=GOOD)
    expected = matrix.skip_is_expected(command, f"{machine.LACKS}x"), matrix.skip_is_expected(command, "no mood")
    return wrong + ([] if expected == (True, False) else [f"skips expected: {expected}"])


@SURVIVES.test
def without_qemu_nothing_passes():
    """That is no skip, because the matrix is there to run QEMU."""
    with patch(qemu.shutil, "which", return_value=None):
        return one_failure(matrix.Run("x", 1, machine.Config()), "not installed: make deps")


# ---- One broken part of the other tools -----------------------------------------------------------------------------

@SURVIVES.test
def a_test_of_a_tool_that_raises():
    suite = selftest.Suite("s")
    suite.tests = [broken, lambda: sys.exit(3), lambda: []]
    status, lines = said_by(selftest.main, suite)
    results = ktap.parse(lines)
    return [] if (status, len(results.failed), len(results.passed)) == (1, 2, 1) else lines


@SURVIVES.test
def a_check_of_hosted():
    with patch(hosted, "checks", return_value=[("bad", broken), ("good", lambda: ([], "fine"))]):
        status, lines = said_by(hosted.main)
    return lacking(lines, "not ok 1 hosted.bad", "broken on purpose", "ok 2 hosted.good", "1 passed, 1 failed") + (
        [] if status else ["status 0"])


@SURVIVES.test
def the_kernels_totals_are_compared():
    lines = ["KTAP version 1", "1..3", "ok 1 a.x", "not ok 2 a.y", "ok 3 a.z # SKIP no luck"]

    def error(*said):
        return test_py.totals_error([*lines, *said], ktap.parse([*lines, *said]))
    name, totals = "# failed: a.y", "# 3 tests: 1 passed, 1 failed, 1 skipped"
    wrong = [error(name, totals)] if error(name, totals) else []
    return wrong + [f"{said} will do" for said in ((), (name,), (totals,), ("# failed: a.x", totals), (name, name, totals),
                                                   (name, "# 3 tests: 2 passed, 0 failed, 1 skipped"),
                                                   (name, "# 4 tests: 1 passed, 1 failed, 1 skipped")) if not error(*said)]


@SURVIVES.test
def a_mutant():
    """One that does not build, one whose boot raises, one that only the table has, one that only the code has, one that
    only a new policy has, one that is killed."""
    names = ["unbuilt", "raises", "table_only", "killed"]
    killed = machine.Result(1, "", ["KTAP version 1", "1..1", "# [1/1] a.b", "# ERROR: tests/a.c:1: x", "not ok 1 a.b",
                                    "# failed: a.b", "# 1 tests: 0 passed, 1 failed, 0 skipped"], 1.0)
    boot = lambda mutant, *_: broken() if mutant == "raises" else killed  # noqa: E731
    build = lambda mutant: "does not build: x" if mutant == "unbuilt" else ""  # noqa: E731
    code = dict.fromkeys(["unbuilt", "raises", "killed", "code_only"], {"mm/policy/old.c"}) | {"new": {"mm/policy/new.c"}}
    with patch(mutants, "TESTS", dict.fromkeys(names, "a.b")), \
            patch(mutants, "defined", return_value=code), patch(mutants, "build", build), \
            patch(mutants, "boot", boot), patch(mutants, "passes_unmutated", return_value=""), \
            patch(mutants.machine, "check_available"), patch(sys, "argv", ["mutants", "--ktap"]):
        status, lines = said_by(mutants.main)
    results = ktap.parse(lines)
    skipped = [("mutants.new", "tools/mutants.py has no tests for the mutants of mm/policy/new.c")]
    expected = matrix.skip_is_expected(matrix.Run("mutants", 1, command=("x",)), skipped[0][1])
    said = status, len(results.failed), results.passed, results.skipped, expected
    return [] if said == (1, 4, ["mutants.killed"], skipped, True) else lines


@SURVIVES.test
def a_model():
    """One with a head that cannot be read, and one whose verifier cannot be built, because there is no SPIN."""
    with tempfile.TemporaryDirectory() as folder, patch(models, "FOLDER", folder), patch(models, "BUILD", folder), \
            patch(sys, "argv", ["models", "--ktap"]), unittest.mock.patch.dict(os.environ, {"PATH": "/nonexistent"}):
        for name, head in (("a", "//! x what"), ("b", "//! x verified")):
            with open(f"{folder}/{name}.pml", "w", encoding="ascii") as f:
                f.write(f"{head}\ninit {{ skip }}\n")
        status, lines = said_by(models.main)
    return lacking(lines, "what does", "FileNotFoundError", "not ok 1 models.a.*", "not ok 2 models.b.x") + (
        [] if status else ["status 0"])


@SURVIVES.test
def a_boot_of_torture():
    pairs = [("rcu", "ipi", "safe"), ("ipi", "pv", "unsafe"), ("rcu", "pv", "safe")]
    run = lambda config, on_line: broken() if "ipi allow" not in config.cmdline and "=pv" in config.cmdline \
        else machine.Result(0, "success", [], 1.0)  # noqa: E731
    with tempfile.TemporaryDirectory() as folder, patch(torture, "FOLDER", folder), patch(sys, "argv", ["torture"]), \
            patch(torture, "list_pairs", return_value=pairs), patch(torture.machine, "run", run):
        status, lines = said_by(torture.main)
    return lacking(lines, "ok     rcu + ipi", "FAILED ipi + pv", "FAILED rcu + pv", "broken on purpose",
                   "1 passed, 2 failed") + ([] if status else ["status 0"])


@SURVIVES.test
def the_pairs_of_torture():
    """All pairs that the kernel announces; and if some cannot be read, none."""
    unsafe = [f"# INFO: table_free={policy} tlb_flush={flush}: unsafe: since"
              for policy, flush in (("ipi", "pv"), ("immediate", "ipi"), ("immediate", "pv"))]
    safe = "# INFO: 4 pairs of table_free= (tlb_flush=) are safe: ipi (ipi), rcu (all), rcu-sync (pv)"
    want = {("ipi", "pv", "unsafe"), ("immediate", "ipi", "unsafe"), ("immediate", "pv", "unsafe"), ("ipi", "ipi", "safe"),
            ("rcu", "ipi", "safe"), ("rcu", "pv", "safe"), ("rcu-sync", "pv", "safe")}
    wrong = [] if set(torture.announced(unsafe + [safe])) == want else [f"{torture.announced(unsafe + [safe])}"]
    for part in (unsafe, unsafe + [safe.replace("4 pairs", "5 pairs")], unsafe + [safe.replace("rcu (all), ", "")]):
        wrong += [f"of {part[-1]}: {torture.announced(part)}"] if torture.announced(part) else []
    return wrong


@SURVIVES.test
def a_boot_of_scale():
    values = [f"# INFO: scale: {name} 0 / 1" for name, _, _ in scale.QUANTITIES]

    def run(config, on_line):
        for line in values if config.smp == 4 else broken():
            on_line(line)
        return machine.Result(0, "success", values, 1.0)

    with patch(scale.machine, "run", run), unittest.mock.patch.dict(os.environ, {"CPUS": "2 4 8"}):
        status, lines = said_by(scale.main)
    return lacking(lines, "2 CPUs: the tool failed: KeyError", "4 CPUs: ok", "8 CPUs: the tool",
                   "1 passed, 2 failed") + ([] if status else ["status 0"])


@SURVIVES.test
def a_target_of_the_fuzzer():
    run = lambda target, *_: broken() if target == "acpi" else fuzz.Result(target, 0, "", 1.0)  # noqa: E731
    with patch(fuzz, "run", run):
        status, lines = said_by(fuzz.long_run, ("acpi", "cmdline"), 1)
    return lacking(lines, "acpi", "broken on purpose", "cmdline   0 executions", "fuzz: acpi failed") + (
        [] if status == 1 else [f"status {status}"])


# ---- Hangs ----------------------------------------------------------------------------------------------------------

def looks(command, most, begun=lambda process: None, **limits):
    """Look at a command that never ends, again and again: (what the last look says, how many looks there were).
    begun(process) waits until the command is in the state that is to be looked at."""
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE)
    try:
        begun(process)
        watcher = patience.Patience(process.pid, **limits)
        for number in itertools.count(1):
            if (why := watcher.look()) or number == most:
                return why, number
    finally:
        patience.kill_tree(process.pid)
        process.communicate()


LOOP = ("sh", "-c", "while :; do :; done")


@HANGS.test
def a_loop_uses_up_its_budget():
    """Also in a child of the child, and in a child that has ended."""
    wrong = []
    for command in (LOOP, ("sh", "-c", "setsid sh -c 'while :; do :; done' & wait")):
        why, _ = looks(command, 0, budget=0.5)
        wrong += [] if "s of processor time" in why else [f"{command}: {why}"]
    over = ("sh", "-c", "exec 2>&-; sh -c 'ulimit -t 1; while :; do :; done'; echo; sleep 1000")
    why, number = looks(over, 0, lambda process: process.stdout.readline(), budget=0.5)
    return wrong + ([] if "s of processor time" in why and number == 1 else [f"{over}: {why} after {number}"])


@HANGS.test
def a_sleeper_is_noticed():
    """A process whose descendants all sleep; but not before it has slept for enough looks."""
    sleeper = ("sh", "-c", "setsid sleep 1000 & sleep 1000")
    with patch(patience, "QUIET", 50):
        asleep = looks(sleeper, 0, budget=1000)
        longer = looks(sleeper, 55, budget=1000, sleep=20)
    wrong = [] if asleep[0].startswith("asleep") and asleep[1] >= 50 else [f"{asleep}"]
    return wrong + ([f"{longer}"] if longer[0] else [])


@HANGS.test
def a_process_without_a_processor_is_left_alone():
    """A stopped loop stands for a process to which a busy host gives no processor at all."""
    def stop(process):
        os.kill(process.pid, 19)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)

    with patch(patience, "QUIET", 50):
        why, number = looks(LOOP, 150, stop, budget=1000)
    return [] if not why and number == 150 else [f"{why} after {number}"]


def states(letters):
    """How many looks it takes to end a process that is in these states, one after the other, over and over."""
    seen = itertools.cycle(letters)
    with patch(patience, "tree", return_value={}), patch(patience, "is_awake", lambda _: next(seen) in patience.AWAKE):
        watcher = patience.Patience(1, budget=1)
        return next((number for number in range(1, 5000) if watcher.look()), None)


@HANGS.test
def a_sleeper_that_ticks_is_told_from_one_that_waits_for_its_turn():
    cases = {"S": True, "SSSSSSSSSR": True, "SSSSR": True, "SR": False, "SSR": False, "R": False, "SSD": False}
    return [f"{letters}: ended after {got}" for letters, ends in cases.items() if bool(got := states(letters)) != ends]


@HANGS.test
def the_clock_counts_only_where_it_was_asked_for():
    why, _ = looks(("sleep", "1000"), 0, clock=0.05)
    limits = machine.limits(machine.Config(timeout=7), False), machine.limits(machine.Config(), False)
    wrong = [] if why == "still running after 0.05 s" else [why]
    return wrong + ([] if [each["clock"] for each in limits] == [7, 0] and limits[1]["budget"] > 0 else [f"{limits}"])


@HANGS.test
def whoever_asks_for_seconds_gets_them():
    """In addition to what any run may use, and for how long any may sleep."""
    default, longer = (machine.limits(machine.Config(smp=1, cmdline=f"mode=bench{keys}"), False)
                       for keys in ("", " seconds=1000"))
    more = [longer[key] - default[key] for key in ("budget", "sleep")]
    typed = machine.limits(machine.Config(), True)["budget"]
    return [] if more[0] >= 1000 == more[1] and typed == 0 else [f"{more} more; {typed} where somebody types"]


@HANGS.test
def what_is_ended_leaves_nothing_behind():
    with tempfile.TemporaryDirectory() as folder, patch(patience, "LOOK_SECONDS", 0.01):
        script = f"setsid sh -c 'echo $$ > {folder}/pid; while :; do :; done' & wait"
        status, _, why = patience.run(["sh", "-c", script], 0.3)
        with open(f"{folder}/pid", encoding="ascii") as f:
            pid = int(f.read())
        while any(fields[0] != "Z" for fields in patience.tree(pid).values()):  # it may not have died yet; or a zombie
            time.sleep(0.05)
    return [] if status is None and why else [f"{status}, {why}"]


@HANGS.test
def whoever_runs_a_command_so_hears_how_it_ended():
    """124 if it has hung; 128 and the number of the signal if one has ended it."""
    wrong = []
    for budget, script, want in ((100, "exit 3", 3), (100, "exit 0", 0), (100, "kill -9 $$", 137), (0.2, LOOP[2], 124)):
        with patch(patience, "LOOK_SECONDS", 0.01), patch(sys, "argv", ["patience", str(budget), "sh", "-c", script]):
            status, lines = said_by(patience.main)
        wrong += [] if status == want and (want == 124) == bool(lines) else [f"{script}: {status}, {lines}"]
    return wrong


@HANGS.test
def a_file_is_followed_to_its_end():
    """Also what is written last, right before the process ends, and without an end of line."""
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/serial", "wb", buffering=0) as serial:
            pieces = iter((b"one\ntw", b"o\nthree\nfo", b"ur"))

            def poll():
                serial.write(next(pieces))
                return None if serial.tell() < len("one\ntwo\nthree\nfour") else 0

            found = list(qemu.follow(unittest.mock.Mock(poll=poll), f"{folder}/serial"))
    return [] if found == [b"one", b"two", b"three", b"four"] else [f"{found}"]


CHATTY = "seq 100000; touch $1; exit 33"


@HANGS.test
def whoever_reads_us_does_not_hold_up_the_machine():
    """QEMU prints more than a pipe holds, and we are stuck with its first line until it has ended."""
    with tempfile.TemporaryDirectory() as folder, \
            patch(qemu, "command", return_value=["sh", "-c", CHATTY, "sh", f"{folder}/ended"]):
        def on_line(_):
            while not os.path.exists(f"{folder}/ended"):
                time.sleep(0.01)

        result = qemu.run_once(machine.Config(), on_line, False)
    return [] if result.ok and result.lines == [str(i + 1) for i in range(100000)] else [f"{result.sentence}, {len(result.lines)} lines"]


@HANGS.test
def make_run_into_a_pipe_that_is_closed_ends_qemu():
    program = ("import machine, qemu, run, sys; machine.check_available = print; "
               "qemu.command = lambda *_: ['sh', '-c', 'echo $$; while :; do echo x; done']; sys.exit(run.main())")
    process = subprocess.Popen([sys.executable, "-c", program], env=os.environ | {"CMDLINE": "mode=test", "PYTHONPATH": "tools"},
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process.stdout:
        pid = next(int(line) for line in process.stdout if line.strip().isdigit())
    wrong = [process.stderr.read()]
    if process.wait() != 141 or os.path.exists(f"/proc/{pid}"):
        wrong.append(f"status {process.returncode}, QEMU exists: {os.path.exists(f'/proc/{pid}')}")
    return [line for line in wrong if line]


@HANGS.test
def a_run_of_make_test_that_hangs_is_named():
    with patch(patience, "LOOK_SECONDS", 0.01), patch(matrix.Run, "limit", lambda run: 0.3 if run.name == "x" else 100):
        command = ("sh", "-c", "echo KTAP version 1; echo 1..0; while :; do :; done")
        return one_failure(matrix.Run("x", 1, command=command), "time-out: still running after", "of processor time")


if __name__ == "__main__":
    sys.exit(selftest.main(SURVIVES, HANGS, check_test_all.suite))
