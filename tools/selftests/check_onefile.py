# SPDX-License-Identifier: MIT
"""A new policy or back-end needs one file only: a copy of the tree gets one of each, in one file each (onefile/), and
nothing else. It must build, keep the rules of the sources, and be judged, timed, traced and counted. Both must appear
wherever all policies and back-ends do: verdicts, tables, models (as skips with their names), report with each of its
pictures. Reported as KTAP. The objects are copied, too, so that only what is new is compiled. No time is judged."""
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import machine
import matrix
import patience
import pictures
import results
from comparison import BY_PAIR
from selftests import copied, selftest

suite = selftest.Suite("onefile")
NAME = "example"
NEW = {"policy.c": f"mm/policy/{NAME}.c", "flush.c": f"mm/flush/{NAME}.c"}
OBJECTS = ("check", "release", "version.c", "font.c")  # of build/
FILES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "onefile")
LOGS = "build/test/onefile"
BUDGET = 600
# What is measured of policies and pairs for the tables, the pictures and the checks of bystanders and preemptions. In
# one second each benchmark does only its minimum, which does not depend on the host.
TIMED = "walk,loads4,unmap_page,unmap_512,unmap_w*,protect_page,map_t*,pages_held,table_wait,until_free,bystander,scale_s*,unmap_stolen"
BOOTS = {
    "times": machine.Config(smp=2, build="release", cmdline=f"mode=bench bench={TIMED} seconds=1"),
    "verdicts": machine.Config(smp=2, cmdline="mode=compare seconds=1"),
    "trace": machine.Config(smp=2, build="release", cmdline="mode=trace seconds=1"),
    "counts": machine.Config(smp=1, build="release", accel="icount", cmdline="mode=bench bench=walk,unmap_page seconds=1"),
    "suites": machine.Config(smp=2, cmdline="mode=test test=policy,switch,trace.order*"),
}


class Shared:
    """The copy and what is booted of it."""
    folder, copy, pool, boots = "", None, None, {}


def add_files(folder):
    for source, path in NEW.items():
        if os.path.exists(f"{folder}/{path}"):
            raise ValueError(f"{path} is there already")
        shutil.copy(f"{FILES}/{source}", f"{folder}/{path}")


def ran(*command, **env):
    return Shared.copy.ran(*command, **env)


def play(name):
    """One boot; the path of its serial log."""
    config, path = BOOTS[name], os.path.abspath(f"{LOGS}/{name}.log")
    config.iso = f"{Shared.folder}/build/quiesce{'' if config.build == 'release' else '-check'}.iso"
    with open(path, "w", encoding="utf-8", buffering=1) as log:
        result = machine.run(config, on_line=lambda line: log.write(line + "\n"))
    if not result.ok:
        raise machine.Unavailable(f"the boot \"{name}\": {result.sentence} ({path}): {result.lines[-5:]}")
    return path


def boot(name):
    """The same, but each boot is made only once; the first call begins them all, two at a time."""
    if not Shared.boots:
        Shared.boots = {each: Shared.pool.submit(play, each) for each in BOOTS}
    return Shared.boots[name].result()


def lines_of(name):
    with open(boot(name), encoding="utf-8") as f:
        return f.read().splitlines()


def items(name, kind):
    return [item for each in results.load([boot(name)]) for item in getattr(each, kind)]


def in_copy(program, *arguments):
    """Run some Python with the tools of the copy. What it prints is wrong."""
    wrong, lines = ran(sys.executable, "-c", f"import sys; sys.path[0] = 'tools'; {program}", *arguments)
    return wrong or lines


def unexpected(configuration, *skips):
    run_of = next(r for r in matrix.MATRIX if r.name == configuration)
    return [f"make test does not expect: {skip}" for skip in skips if not matrix.skip_is_expected(run_of, skip)]


@suite.test
def it_builds():
    wrong, lines = ran("make", "--no-print-directory", "-j2", "all")
    compiled = {line.split()[-1] for line in lines if line.startswith("CC ")}
    return wrong or [f"not compiled: {path}" for path in NEW.values() if path not in compiled]


@suite.test
def the_sources_keep_their_rules():
    return ran(sys.executable, "tools/checks.py")[0]


@suite.test
def the_suites_of_policies_pass():
    lines_of("suites")
    return []


@suite.test
def every_pair_is_judged():
    """As the configuration `verdicts` requires it, by the copy's own list; and the new ones are among them."""
    judged = {(v["table_free"], v["tlb_flush"]) for v in items("verdicts", "verdicts")}
    missing = [f"no verdict on {' + '.join(pair)}" for pair in ((NAME, NAME), (NAME, "ipi"), ("rcu", NAME)) if pair not in judged]
    return missing + in_copy("import matrix; print(*matrix.verdict_errors(open(sys.argv[1]).read().splitlines()), sep='\\n', end='')",
                             boot("verdicts"))


@suite.test
def every_pair_is_timed_and_counted():
    """The tables are complete, and say so; the policy has its rows and the back-end its columns."""
    with tempfile.TemporaryFile() as logs:
        for name in ("verdicts", "times", "counts"):
            with open(boot(name), "rb") as f:
                shutil.copyfileobj(f, logs)
        logs.seek(0)
        done = subprocess.run([sys.executable, "tools/table.py"], cwd=Shared.folder, stdin=logs, capture_output=True,
                              text=True, check=False)
    said = done.stdout.splitlines()
    rows = [line for line in said if re.match(rf"{NAME} ", line)]
    columns = [line for line in said if re.search(rf"  {NAME}( |$)", line)]
    wrong = [f"status {done.returncode}: {said[-3:]} {done.stderr}"] if done.returncode else []
    tables = 1 + len(BY_PAIR)  # the verdicts, and what is timed of pairs
    if min(len(rows), len(columns)) < tables:
        wrong.append(f"{len(rows)} rows of the policy, {len(columns)} columns of the back-end, not {tables} at least")
    return wrong + selftest.lacking(said, f"{NAME} + {NAME}", "Every claim was confirmed")


@suite.test
def bystanders_and_thefts_add_up():
    return in_copy("import events, results; bench = [b for run in results.load(sys.argv[1:]) for b in run.bench]; "
                   "print(*events.bystander_errors(bench), *events.stolen_errors(bench), sep='\\n', end='')", boot("times"))


@suite.test
def a_policy_and_a_back_end_without_a_model_are_skips():
    """With their names, and make test expects these skips."""
    wrong, lines = ran(sys.executable, "tools/models.py", "--quick", "--ktap", f"pair.*{NAME}*")
    skips = [f"{what} {NAME} has no model in tests/models/" for what in ("policy", "back-end")]
    wrong += selftest.lacking(lines, *(f"# SKIP {skip}" for skip in skips))
    plain = ran(sys.executable, "tools/models.py", f"pair.*{NAME}*")[1]
    wrong += selftest.lacking(plain, *(f"skipped: {skip}" for skip in skips))
    return wrong + unexpected("models", *skips)


@suite.test
def the_mutants_of_a_new_policy_are_skips():
    wrong, lines = ran(sys.executable, "tools/mutants.py", "--ktap", f"{NAME}*")
    skip = f"{matrix.NO_TESTS_OF}{NEW['policy.c']}"
    return wrong + selftest.lacking(lines, f"mutants.{NAME}_no_grace_period # SKIP {skip}") + unexpected("mutants", skip)


@suite.test
def its_trace_is_right():
    """As the configuration `trace-log` judges it; and there is a scene of each."""
    shutil.copy(boot("trace"), f"{Shared.folder}/build/test/trace.log")
    scenes = {(e.get("table_free"), e.get("tlb_flush")) for e in items("trace", "trace")}
    missing = [f"no scene of {p} + {b}" for p, b in ((NAME, "ipi"), ("rcu", NAME)) if (p, b) not in scenes]
    return missing + ran(sys.executable, "tools/selftests", "trace", "log")[0]


@suite.test
def the_report_shows_both():
    """In the page, and in each picture of policies or of back-ends, wide and narrow."""
    wrong, _ = ran(sys.executable, "tools/report.py", RESULTS=" ".join(map(boot, ("verdicts", "times", "trace", "counts"))))
    folder = pathlib.Path(Shared.folder, "build/report")
    drawn = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.svg"))}
    if len(drawn) != 2 * (len(pictures.SECTIONS) - 1):  # the targets are a table
        wrong.append(f"pictures: {', '.join(drawn)}")
    wrong += [f"not in the picture {name}" for name, text in drawn.items() if not re.search(rf"\b{NAME}\b", text)]
    heads = re.findall(rf"<th[^>]*>{NAME}</th>", (folder / "index.html").read_text(encoding="utf-8"))
    return wrong + ([] if len(heads) > 1 else [f"{len(heads)} rows and columns of the name in the page"])


def main():
    os.makedirs(LOGS, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="quiesce-onefile-") as Shared.folder, \
            patience.interruptible(concurrent.futures.ThreadPoolExecutor(2)) as Shared.pool:
        Shared.copy = copied.Copy(Shared.folder, OBJECTS, BUDGET)
        add_files(Shared.folder)
        return selftest.main(suite)


if __name__ == "__main__":
    sys.exit(main())
