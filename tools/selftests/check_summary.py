# SPDX-License-Identifier: MIT
"""Tests of what make run ends with (run.py, comparison.py, summary.py, the marks of table.py), on made-up boots."""
import contextlib
import io
import json
import os
import sys
import tempfile
import unittest.mock

import host
import machine
import results
import run
import summary
import table
from comparison import BY_PAIR, Comparison
from selftests import selftest

suite = selftest.Suite("summary")
FLUSHES = "lazy", "ipi", "pv", "nmi"
UNSAFE = {("immediate", flush) for flush in FLUSHES} | {("ipi", "pv"), ("ipi", "nmi")}
POLICIES = "immediate", "ipi", "rcu", "hazard"
BANNER = "quiesce 0.1: build={} commit=abc cpus={}"
ENDED = {0: "quiesce: exit 0", 1: "quiesce: exit 1", 3: "# PANIC: page fault", None: "# INFO: measuring nothing"}


def verdict(policy, flush, found=""):
    claimed = "unsafe" if (policy, flush) in UNSAFE else "safe"
    counters = "violations walks fast slow remote frees_l1 frees_l2 frees_l3 frees_during_walk".split()
    found = found or {"safe": "clean", "unsafe": "violated"}[claimed]
    return {"table_free": policy, "tlb_flush": flush, "claimed": claimed, "found": found} | dict.fromkeys(counters, 1)


def bench(name, policy, flush="ipi", **more):
    return {"name": name, "build": "release", "table_free": policy, "tlb_flush": flush, "cpus": 2, "others": 0,
            "walkers": 0, "pages": 1, "stolen_us": 0, "unit": "cycles", "n": 99, "median": 1000, "ops": 100,
            "ops_per_sec": 5000, "ipi_sync_per_1000": 0} | more


def timed(policies=POLICIES, flushes=FLUSHES, cpus=2, **more):
    """What the boot that measures times prints, for each pair."""
    for policy in policies:
        for flush in flushes:
            for name in {name for _, name, _, _ in BY_PAIR} - {"unmap_page"}:
                yield bench(name, policy, flush, cpus=cpus, **more)
            for others in {0, cpus - 1}:
                yield bench("unmap_page", policy, flush, others=others, cpus=cpus, **more)
            theft = {"unit": "ns", "stolen_us": 10_000, "others": 1, "cpus": cpus}
            yield bench("unmap_stolen", policy, flush, **theft | more)
        for name, more_ipis in (("bystander", 100), ("bystander_lazy", 1), ("bystander_elsewhere", 0)):
            yield bench(name, policy, others=1, cpus=cpus, ipis=more_ipis, lost_ppm=1, unit="ns")
        yield bench("walk", policy, cpus=cpus, **more)
        yield bench("table_wait", policy, walkers=cpus - 1, cpus=cpus, **more)
        yield bench("collapse", policy, cpus=cpus, **more, ipi_sync_per_1000=1000 * (policy == "ipi"))


def counted(policies=POLICIES, **more):
    for policy in policies:
        for name in ("walk", "unmap_page"):
            yield bench(name, policy, unit="instructions", cpus=1, **{"median": 90, "min": 84, "usual": 85} | more)


def lines_of(kind, items):
    return [f"{kind} {json.dumps(item)}" for item in items]


def boot(build, cpus, kind, items, end=0):
    return [BANNER.format(build, cpus), *lines_of(kind, items), ENDED[end]]


def comparison(verdicts=None, timed_items=None, counted_items=()):
    verdicts = [verdict(p, f) for p in POLICIES for f in FLUSHES] if verdicts is None else verdicts
    timed_items = list(timed()) if timed_items is None else timed_items
    return Comparison(results.parse(boot("check", 2, "VERDICT", verdicts) + boot("release", 2, "BENCH", timed_items)
                                    + boot("release", 1, "BENCH", counted_items)))


def row(c, policy):
    return next(line.split() for line in summary.lines(c) if line.startswith(policy + " "))


def differing(name, got, want):
    return [] if got == want else [f"{name}: {got} where {want} is right"]


# The widest figure to be expected of each measurement.
WIDEST = {"walk": {"median": 12_345}, "unmap_page": {"median": 876_543}, "pages_held": {"median": 12_345, "n": 9},
          "bystander_lazy": {"ipis": 99}, "collapse": {"ipi_sync_per_1000": 1000},
          "table_wait": {"median": 99_400_000},
          "map_touch_unmap": {"ops_per_sec": 876_543}, "unmap_stolen": {"median": 999_400_000}}


@suite.test
def eleven_policies_fit():
    """As many as there will be, with six back-ends, each column as wide as it gets: 15 lines of 120 columns."""
    policies = "immediate ipi targeted rcu-sync rcu-page rcu hazard auto epoch rcu-proxy keep".split()
    flushes, wrong = (*FLUSHES, "hyperv", "xen"), []
    for found, where in (("clean", ()), ("violated", ("hyperv",)), ("violated", ("hyperv", "xen")),
                         ("inconclusive", ("ipi",))):
        verdicts = [verdict(p, f, found if f in where else "") for p in policies for f in flushes]
        wide = [b | WIDEST.get(b["name"], {}) for b in timed(policies, flushes, n=1)]
        lines = summary.lines(comparison(verdicts, wide, [b | {"median": 1_234} for b in counted(policies)]))
        if len(lines) > 15 or max(map(len, lines)) > 120:
            wrong += [f"{len(lines)} lines, {max(map(len, lines))} columns", *lines]
        wrong += [f"no row of {p}" for p in policies if sum(line.split()[0] == p for line in lines) != 1]
    return wrong


@suite.test
def a_row_says_what_was_measured():
    want = "rcu all 1,000 85 1,000 85 1,000 sharers 1,000 1,000 1.00 us 1.00 us 5,000".split()
    checked = bench("irqs_off_max", "rcu", build="check", cpus=4)
    c = comparison(timed_items=[checked, *timed()], counted_items=list(counted()))
    ipi, none = row(c, "ipi")[:4], row(c, "immediate")[1]
    return differing("rcu", row(c, "rcu"), want) + differing("ipi", ipi, ["ipi", "lazy,", "ipi", "1,000"]) + (
        differing("immediate", none, "none")) + differing("the CPUs", "SMP=2," in summary.lines(c)[-1], True)


@suite.test
def contradictions_are_loud():
    """In the pair's row, in a line of its own and in the sentence; and the status is 1."""
    wrong = []
    for policy, flush, found, said in (("rcu", "pv", "violated", "WRONG: pv"), ("ipi", "pv", "clean", "WRONG: pv"),
                                       ("rcu", "lazy", "inconclusive", "UNPROVEN: lazy")):
        c = comparison([verdict(p, f, found if (p, f) == (policy, flush) else "") for p in POLICIES for f in FLUSHES])
        status, (first, *_, last) = c.conclusion()
        if said not in " ".join(row(c, policy)):
            wrong.append(f"{policy}: {row(c, policy)}")
        if status != 1 or f"{policy} + {flush} is claimed" not in first or "NOT CONFIRMED: 1 of 16" not in last:
            wrong.append(f"{policy} + {flush} found {found}: {status}, {first}, {last}")
    return wrong + differing("without one", comparison().conclusion()[0], 0)


@suite.test
def one_cpu_proves_nothing_and_that_is_right():
    def concluded(found):
        c = comparison([verdict(p, f, found) for p in POLICIES for f in FLUSHES], list(timed(cpus=1)))
        return c.conclusion()[0], row(c, "rcu")[1]

    return differing("inconclusive", concluded("inconclusive"), (0, "UNPROVEN:")) + (
        differing("violated", concluded("violated"), (1, "WRONG:")))


@suite.test
def what_is_missing_is_a_dash_or_fails():
    """What only the short table shows may be missing. What the comparison rests on may not, nor the count of one policy
    where the others have theirs."""
    def without(name, items, **more):
        gone = {"name": name, "table_free": "rcu"} | more
        return [b for b in items if any(b[key] != value for key, value in gone.items())]

    wrong = []
    for name, want, column in (("unmap_stolen", {"tlb_flush": "ipi"}, 10), ("table_wait", {}, 9), ("bystander", {}, 7), ("walk", {}, 2)):
        c = comparison(timed_items=without(name, list(timed()), **want), counted_items=list(counted()))
        wrong += differing(f"without {name}", (row(c, "rcu")[column], c.conclusion()[0]), ("-", 0))
    for name in ("unmap_page", "map_touch_unmap", "pages_held"):
        status, conclusion = comparison(timed_items=without(name, list(timed()))).conclusion()
        wrong += [f"without {name}: {status}, {conclusion}"] * (status != 1 or "rcu + ipi" not in conclusion[0])
    c = comparison(timed_items=without("unmap_page", list(timed()), others=1), counted_items=list(counted()))
    wrong += differing("alone only", (row(c, "rcu")[4], row(c, "rcu")[6], c.conclusion()[0]), ("1,000", "-", 1))
    c = comparison(counted_items=without("walk", list(counted())))
    status, conclusion = c.conclusion()
    wrong += differing("without a count", row(c, "rcu")[3], "-")
    fails = status == 1 and "rcu + ipi: lockless walk" in conclusion[0]
    return wrong + ([] if fails else [f"without a count: {status}, {conclusion}"])


@suite.test
def few_samples_and_unsafe_pairs_are_marked():
    def marked(n):
        few = {"ops": n, "ipis": n}
        c = comparison(timed_items=[b | few if b["name"] == "bystander" else b for b in timed(n=n)])
        full, hazard = "\n".join(table.full(c)), row(c, "hazard")
        cells = hazard[2], hazard[7], hazard[8]
        parts = [part in full for part in ("1,000?", "1 us?", "1.00?", "?: fewer than 5")]
        return *cells, *parts, "n < 5" in summary.lines(c)[-1]

    c = comparison(counted_items=list(counted()))
    return differing("n = 4", marked(4), ("1,000?", "sharers?", "1,000?") + 5 * (True,)) + (
        differing("n = 5", marked(5), ("1,000", "sharers", "1,000") + 5 * (False,))) + (
        differing("immediate", row(c, "immediate")[2:4], ["1,000!", "85!"])) + (
        differing("ipi + pv", row(c, "ipi")[-2], "us!"))


@suite.test
def who_is_interrupted_follows_the_counters():
    wrong = []
    for ipis, sync, want in (((0, 0, 0), 0, "nobody"), ((100, 0, 0), 0, "sharers"), ((100, 100, 0), 0, "holders"),
                             ((50, 50, 0), 0, "nobody"), ((51, 50, 0), 0, "sharers"),
                             ((100, 100, 100), 0, "all CPUs"), ((0, 0, 100), 0, "see tables"),
                             ((100, 0, 0), 1000, "sharers*")):
        of = dict(zip(("bystander", "bystander_lazy", "bystander_elsewhere"), ipis))
        items = [b | {"ipis": of.get(b["name"], 0)} | ({"ipi_sync_per_1000": sync} if b["name"] == "collapse" else {})
                 for b in timed(("rcu",))]
        wrong += differing(ipis, want in " ".join(row(comparison(timed_items=items), "rcu")), True)
    return wrong


@suite.test
def figures_keep_their_width():
    """Three digits or so, on either side of where the unit changes."""
    cases = ((summary.time, {9.994: "9.99 ns", 9.996: "10.0 ns", 99.96: "100 ns", 999.4: "999 ns", 999.6: "1.00 us",
                             999_400: "999 us", 999_600: "1.00 ms", 999_600_000: "1.00 s"}),
             (summary.count, {99_999: "99,999", 100_000: "100k", 999_400: "999k", 999_600: "1.00M",
                              999_600_000: "1.00G"}))
    return [f"{show.__name__} of {value}: {show(value)}, not {want}" for show, values in cases
            for value, want in values.items() if show(value) != want]


@suite.test
def instructions_are_exact():
    """Never the median, which comes from buckets."""
    c = comparison(counted_items=[b | ({} if b["name"] == "walk" else {"usual": None}) for b in counted()])
    return differing("instr", [row(c, "rcu")[n] for n in (3, 5)], ["85", ">=84"])


@suite.test
def instructions_and_cycles_are_not_mixed_up():
    """Whichever boot comes first; and where everything is counted, the columns of cycles are empty."""
    c = Comparison(results.parse(boot("release", 1, "BENCH", counted()) + boot("check", 2, "VERDICT", [
        verdict(p, f) for p in POLICIES for f in FLUSHES]) + boot("release", 2, "BENCH", timed())))
    both = differing("both", row(c, "rcu")[2:7], ["1,000", "85", "1,000", "85", "1,000"])
    icount = comparison(timed_items=list(timed(unit="instructions")), counted_items=list(counted()))
    alone = comparison(timed_items=list(timed(unit="instructions", cpus=1, usual=1000)))
    checking = comparison(counted_items=[b | {"build": "check"} for b in counted()])
    both += differing("a checking build's", row(checking, "rcu")[3], "-")
    return both + differing("ACCEL=icount", row(icount, "rcu")[2:7], ["-", "85", "-", "85", "-"]) + (
        differing("with SMP=1", row(alone, "rcu")[2:7], ["-", "1,000", "-", "1,000", "-"])) + (
        [] if any("Times in instructions" in line for line in table.full(icount)) else ["the tables call them cycles"])


def main_job(ends=(0, 0, 0), verdicts=None, config=machine.Config(smp=2), icount=True, environment={}):
    """(status, text, {name: text of each file}) of make run whose boots end so."""
    verdicts = verdicts or [verdict(p, f) for p in POLICIES for f in FLUSHES]
    said = {"verdicts": boot("check", 2, "VERDICT", verdicts, ends[0]),
            "times": boot("release", 2, "BENCH", timed(), ends[1]),
            "instructions": boot("release", 1, "BENCH", counted(), ends[2])}
    endings = dict(zip(said, ends))

    def measure(asked, on_line=None):
        name = "verdicts" if asked.build == "check" else "instructions" if asked.accel == "icount" else "times"
        for line in said[name]:
            on_line(line)
        return machine.Result(endings[name], f"ended with {endings[name]}", said[name], 1.0), ""

    def available(asked):
        if asked.accel == "icount" and not icount:
            raise machine.Unavailable("no such clock")

    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        for where, name, value in ((host, "measure", measure), (machine, "check_available", available),
                                   (run, "FOLDER", folder), (run, "TABLES", f"{folder}/tables.txt")):
            stack.enter_context(unittest.mock.patch.object(where, name, value))
        stack.enter_context(unittest.mock.patch.dict(os.environ, {"VERBOSE": ""} | environment))
        out = stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        status, files = run.compare(config), {}
        for name in os.listdir(folder):
            with open(f"{folder}/{name}", encoding="utf-8") as f:
                files[name] = f.read()
        return status, out.getvalue().replace(folder, "FOLDER"), files


@suite.test
def the_main_job_ends_with_table_and_sentence():
    status, text, files = main_job()
    last = text.rstrip().splitlines()
    wrong = differing("status", status, 0) + differing("files", sorted(files), [
        "instructions.log", "tables.txt", "times.log", "verdicts.log"])
    wrong += [] if last[-1].startswith("Every claim was confirmed") else [last[-1]]
    wrong += [f"no {part}" for part, where in (("FOLDER/tables.txt", text), ("Stolen time", files["tables.txt"]),
                                               ("BENCH {", files["times.log"])) if part not in where]
    return wrong + [f"on the terminal: {line}" for line in last if "BENCH {" in line or "Verdicts:" in line]


@suite.test
def verbose_shows_lines_and_tables():
    _, text, _ = main_job(environment={"VERBOSE": "1"})
    return [f"nothing of {part}" for part in ("BENCH {", "VERDICT {", "Stolen time", "found safe") if part not in text]


@suite.test
def failing_boots_fail_the_main_job():
    """A boot whose kernel reports a failure is named, and the table comes all the same. Of a boot that has panicked or
    broken off, the last lines are shown."""
    wrong = []
    found = [verdict(p, f, "violated" if (p, f) == ("rcu", "pv") else "") for p in POLICIES for f in FLUSHES]
    for ends, verdicts, parts in (
            ((1, 0, 0), found, ("verdicts has failed", "verdicts.log", "WRONG: pv", "rcu + pv is claimed")),
            ((0, 1, 0), None, ("times has failed", "FOLDER/times.log")),
            ((3, 0, 0), None, ("# PANIC: page fault", "verdicts has failed", "FOLDER/verdicts.log")),
            ((0, None, 0), None, ("measuring nothing", "times has failed")),
            ((0, 0, 3), None, ("# PANIC: page fault", "instructions has failed"))):
        status, text, files = main_job(ends, verdicts)
        wrong += differing(f"{ends}, status", status, 1) + [f"{ends}: nothing of {p}" for p in parts if p not in text]
        wrong += differing(f"{ends}, a table", "found safe" in text, ends[0] != 3)
        wrong += differing(f"{ends}, it went on", "times.log" in files, ends[0] != 3)
    return wrong + differing("a contradiction that the kernel did not fail", main_job((0, 0, 0), found)[0], 1)


@suite.test
def without_icount_the_column_is_empty():
    status, text, files = main_job(icount=False)
    return differing("status", status, 0) + ["the reason is not said"] * ("no such clock" not in text) + (
        ["there was a third boot"] * ("instructions.log" in files))


@suite.test
def trouble_is_shown_with_its_context():
    """And neither data nor what is far from it."""
    class Seen:
        def __init__(self):
            self.lines = []

        def line(self, text):
            pass

        def note(self, lines):
            self.lines += lines

    wrong = []
    before, behind = ([f"{where} {i}" for i in range(9)] for where in ("before", "after"))
    for trouble, after in (("# WARN: thin ice", run.CONTEXT), ("# PANIC: deep water", 9), ("  not ok 3 a.b", 3)):
        seen = Seen()
        watch = run.Watch(io.StringIO(), seen)
        for line in [*before, "BENCH {}", trouble, "HIST {}", *behind]:
            watch.line(line)
        want = before[-run.CONTEXT:] + [trouble] + behind[:after]
        wrong += differing(trouble, seen.lines, [f"    | {line}" for line in want])
        watch.tail()
        wrong += differing(f"{trouble}, the tail", len(seen.lines), run.CONTEXT + 1 + 9)
    return wrong


@suite.test
def extra_keys_reach_the_boots_that_understand_them():
    with unittest.mock.patch.dict(os.environ, {"EXTRA": "seconds=5 seed=7 bench=walk"}), (
            unittest.mock.patch.object(machine, "check_available")):
        steps, _ = run.plan(machine.Config(smp=8, accel="kvm", cpu="hyperv"))
        exact, _ = run.plan(machine.Config(accel="icount"))
        os.environ["EXTRA"] = ""
        plain, _ = run.plan(machine.Config(accel="icount"))
    keys = "mode=compare seconds=5 seed=7 bench=walk"
    wrong = differing("ACCEL=icount", [each[1].config.cmdline for each in (exact, plain)], [keys, "mode=compare"])
    for at, want in ((1, (8, "kvm", "hyperv", keys)),
                     (2, (1, "icount", "", "mode=bench bench=walk,unmap_page seconds=1 seed=7"))):
        c = steps[at].config
        wrong += differing(steps[at].name, (c.smp, c.accel, c.cpu, c.cmdline), want)
    return wrong


@suite.test
def no_times_are_measured_where_all_is_emulated_twice_over():
    wrong = []
    with unittest.mock.patch.object(machine, "check_available"):
        for accel, timed in (("tcg", ["times"]), ("nested", ["times"]), ("xen", []), ("xen-domu", [])):
            steps, lacking = run.plan(machine.Config(accel=accel))
            wrong += differing(accel, [each.name for each in steps], ["verdicts", *timed, "instructions"])
            wrong += differing(f"{accel}: what is said", [line.split(":")[0] for line in lacking],
                               [] if timed else ["No times are measured"])
    return wrong


if __name__ == "__main__":
    sys.exit(selftest.main(suite))
