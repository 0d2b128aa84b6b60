# SPDX-License-Identifier: MIT
"""Tests of results.py: what a boot measured, written and read again, from either kind of file."""
import itertools
import json
import os
import subprocess
import sys
import tempfile

import host
import machine
import results
from selftests import selftest

suite = selftest.Suite("results")
BANNER = ("quiesce 0.1: build=release commit=abc1234-dirty mutant=none cpus=2 mem=511M firmware=bios hypervisor=tcg "
          "apic=xapic clock=apic+hpet paging=4-level table_free=rcu tlb_flush=ipi")
PAIR = {"v": 1, "name": "unmap_page", "build": "release", "table_free": "rcu", "tlb_flush": "ipi", "cpus": 2,
        "others": 1, "walkers": 0, "pages": 1, "remote": 0, "stolen_us": 0, "unit": "cycles"}
BENCH = PAIR | {"n": 3, "median": 700, "min": 7, "max": 900, "p99": None}
HIST = PAIR | {"n": 3, "min": 7, "max": 900, "sum": 1607, "bits": 6, "buckets": [[7, 1], [279, 1], [304, 1]]}
VERDICT = {"v": 1, "table_free": "rcu", "tlb_flush": "ipi", "claimed": "safe", "found": "clean"}
TRACE = {"v": 1, "scene": "unmap", "cpu": 1, "ns": 5, "event": "unmap", "ph": "B", "arg": 0}
HEADER = {"v": 1, "version": "0.2", "commit": "abc1234", "cpus": 2, "features": "pcid nx"}


def line(kind, item):
    return f"{kind} {json.dumps(item)}"


LOG = ["  Booting", "", BANNER, line("HEADER", HEADER), line("BENCH", BENCH), line("HIST", HIST), "# INFO: BENCH {",
       line("VERDICT", VERDICT), line("TRACE", TRACE), "quiesce: exit 0"]


def in_file(text, check, name="a.log"):
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/{name}"
        with open(path, "w", encoding="utf-8", newline="") as f:
            f.write(text)
        return check(path)


def contents(run):
    return run.header, run.bench, run.hist, run.verdicts, run.trace


@suite.test
def raw_log_is_read_as_a_person_captured_it():
    """With the line ends of a serial port and the colours of GRUB."""
    def check(path):
        run, = results.load([path])
        header = results.header_of_banner(results.BANNER.match(BANNER)) | HEADER | {"exit": 0}
        want = header, [BENCH], [HIST], [VERDICT], [TRACE]
        return [] if contents(run) == want else [f"read as {contents(run)}"]

    text = "\r\n".join(LOG + [""]).replace(BANNER, "\x1b[2J\x1b[01;01H" + BANNER)
    return in_file(text, check)


@suite.test
def banner_stands_in_for_a_missing_header():
    def check(path):
        header = results.load([path])[0].header
        want = {"version": "0.1", "commit": "abc1234-dirty", "build": "release", "cpus": 2, "mem_mib": 511,
                "mutant": "none", "hypervisor": "tcg", "clock": "apic+hpet"}
        return [f"{key} is {header.get(key)!r}" for key in want if header.get(key) != want[key]]

    return in_file("\n".join([BANNER, line("BENCH", BENCH)]), check)


@suite.test
def log_without_its_beginning_is_read():
    def check(path):
        run, = results.load([path])
        return [] if run.header == {"build": "release", "cpus": 2} else [str(run.header)]

    return in_file(line("BENCH", BENCH), check)


@suite.test
def two_boots_in_one_log_are_two_runs():
    def check(path):
        runs = results.load([path])
        return [] if [len(run.bench) for run in runs] == [1, 1] else [f"{len(runs)} runs"]

    return in_file("\n".join(LOG + LOG), check)


@suite.test
def what_was_written_is_read_again():
    host = {"qemu": "7.2", "smp": 2, "command": "make run SMP=2 CMDLINE='mode=bench bench=\"x\"'", "exit": 0}
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/deep/a.jsonl"
        if not results.write(path, host, LOG):
            return ["nothing was written"]
        run, = results.load([path])
        kinds = [json.loads(text)["kind"] for text in open(path, encoding="utf-8")]
        wrong = [f"{key} was lost" for key in host | HEADER if run.header.get(key) != (HEADER | host)[key]]
        wrong += [] if contents(run)[1:] == ([BENCH], [HIST], [VERDICT], [TRACE]) else [f"read as {contents(run)}"]
        wrong += [] if kinds == ["HEADER", "BENCH", "HIST", "VERDICT", "TRACE"] else [f"in the order {kinds}"]
        wrong += [] if os.listdir(f"{folder}/deep") == ["a.jsonl"] else [f"left {os.listdir(folder + '/deep')}"]
        return wrong + (["a run that measured nothing was kept"] if results.write(path, host, [BANNER]) else [])


@suite.test
def broken_lines_are_named():
    """Each by its file and its number, whatever is wrong with the line."""
    def hist(**change):
        return line("HIST", HIST | change)

    header = json.dumps({"kind": "HEADER"})
    cases = [
        ("a.log", 2, [BANNER, line("BENCH", BENCH)[:60]]),
        ("a.log", 3, [BANNER, line("BENCH", BENCH), "VERDICT []"]),
        ("a.log", 1, ['BENCH {"name":"x"}']),
        ("a.log", 1, ['BENCH {"name":"x","median":NaN}']),
        ("a.log", 1, [hist(n=4)]), ("a.log", 1, [hist(bits=5)]), ("a.log", 1, [hist(buckets=[[7, 2], [7, 1]])]),
        ("a.log", 1, [hist(buckets=[[7, 3, 1]])]), ("a.log", 1, [hist(buckets=[["7", 3]])]),
        ("a.log", 1, [line("HIST", {k: v for k, v in HIST.items() if k != "buckets"})]),
        ("a.log", 2, [BANNER, "HEADER {"]),
        ("a.jsonl", 2, [header, "BENCH {}"]), ("a.jsonl", 1, [json.dumps({"kind": "BENCH"} | BENCH)]),
        ("a.jsonl", 2, [header, json.dumps({"kind": "BENCHMARK"} | BENCH)]),
        ("a.jsonl", 2, [header, '{"kind":"BENCH"}']),
        ("a.jsonl", 2, [header, json.dumps({"kind": "BENCH"} | BENCH)[:-1]]),
    ]
    wrong = []
    for name, number, lines in cases:
        def check(path, number=number, lines=lines):
            try:
                return [f"no error in {lines}: {[contents(run) for run in results.load([path])]}"]
            except results.Broken as error:
                return [] if str(error).startswith(f"{path}:{number}: ") else [f"{lines}: {error}"]

        wrong += in_file("\n".join(lines), check, name)
    return wrong


@suite.test
def files_without_measurements_are_named():
    wrong = []
    for text in ("", "hello\n", BANNER, '{"kind":"HEADER"}'):
        def check(path):
            try:
                return [f"no error: {results.load([path])}"]
            except results.Broken as error:
                return [] if path in str(error) else [str(error)]

        wrong += in_file(text, check)
    try:
        results.load(["/nonexistent/*.jsonl"])
    except results.Broken as error:
        return wrong + ([] if "/nonexistent/" in str(error) else [str(error)])
    return wrong + ["a missing file is none"]


@suite.test
def names_and_order_of_files_do_not_matter():
    def read(names):
        with tempfile.TemporaryDirectory() as folder:
            for name, (cpus, median) in zip(names, ((2, 1), (4, 1), (2, 3))):
                lines = [line("HEADER", {"cpus": cpus}), line("BENCH", BENCH | {"median": median})]
                results.write(f"{folder}/{name}.jsonl", {"exit": 0}, lines)
            paths = [f"{folder}/{name}.jsonl" for name in names]
            for given in (paths, [folder], [f"{folder}/*.jsonl"], paths + [folder]):
                yield [contents(run) for run in results.load(given)]

    orders = [order for names in itertools.permutations("abc") for order in read(names)]
    return [f"{len(orders[0])} runs"] * (len(orders[0]) != 3) + [f"differs: {o}" for o in orders if o != orders[0]]


@suite.test
def files_put_together_are_several_runs():
    one = "\n".join(json.dumps(x) for x in ({"kind": "HEADER", "cpus": 2}, {"kind": "BENCH"} | BENCH)) + "\n"
    return in_file(one + one, lambda path: [] if len(results.load([path])) == 2 else ["not two"], "a.jsonl")


@suite.test
def command_repeats_the_run():
    """Through make and a shell, whatever is in it."""
    config = machine.Config(smp=2, build="release", mem="1G", cpu="qemu64,-nx",
                            cmdline="mode=bench bench=unmap_*,w*'\" seed=$7")
    makefile = "export SMP BUILD MEM CPU CMDLINE\nrun:\n\t@env\n"
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/Makefile", "w", encoding="utf-8") as f:
            f.write(makefile)
        done = subprocess.run(host.repeat(config), shell=True, cwd=folder, capture_output=True, text=True)
    said = done.stdout.splitlines()
    want = {"SMP": "2", "BUILD": "release", "MEM": "1G", "CPU": config.cpu, "CMDLINE": config.cmdline}
    return [f"{key}={value} is lost by {host.repeat(config)}" for key, value in want.items()
            if f"{key}={value}" not in said]


@suite.test
def overcommitted_hosts_are_told():
    cases = (("tcg", 2, 2, 0.0, ""), ("tcg", 2, 2, 0.2, ""), ("tcg", 2, 2, 0.5, "others used 0.5"),
             ("tcg", 4, 2, 0.0, "4 vCPUs on 2 host CPUs"), ("tcg", 2, 4, 1.9, ""), ("tcg", 2, 4, 3.0, "others used 3.0"),
             ("icount", 4, 2, 1.9, ""))
    return [f"{case}: {got!r}" for *case, want in cases
            for got in [host.overcommitted(*case)] if want not in got or bool(want) != bool(got)]


if __name__ == "__main__":
    sys.exit(selftest.main(suite))
