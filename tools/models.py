#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make models: the Promela models of tests/models/, each in all its variants, searched exhaustively by SPIN. Prints one
line per variant and every counterexample as an interleaving; fails where a verdict is not the expected one.

A model declares its variants in its head:
    //! NAME EXPECTED DEFINE[=VALUE] …                      one variant. EXPECTED is one of: verified; equivalent
                                                            (verified, although a step is taken out); found (an
                                                            assertion fails); hangs (no process can go on)
    //! pairs                                               each policy with each back-end that numbers.pml knows;
                                                            what is expected comes from mm/; what numbers.pml lacks
                                                            is skipped
    //! slow GLOB …                                         not part of --quick; a glob means only those that have no
                                                            counterexample
--quick also leaves out a counterexample of the same name as that of a smaller model: both take out the same step.
If the model tests NAME as a define, it is defined, and takes out the step that it names."""
import argparse
import concurrent.futures
import dataclasses
import fnmatch
import functools
import glob
import os
import re
import resource
import shutil
import sys
import time

import axes
import mishap
import patience
from matrix import NO_MODEL

FOLDER = "tests/models"
BUILD = "build/models"
DEPTH = 200000
MEGABYTES = 2000
PAN_SECONDS = 300         # of processor time, as all budgets: the machine may be busy with other things
NUMBERS = f"{FOLDER}/numbers.pml"


class ModelError(Exception):
    pass


@dataclasses.dataclass
class Variant:
    model: str
    name: str
    expected: str         # verified, equivalent, found or hangs; or skipped
    defines: list
    slow: bool = False
    size: int = 0         # of the model's text
    repeats: bool = False  # a smaller model has a counterexample of the same name
    found: str = ""       # verified, found, hangs or skipped; or what went wrong
    states: int = 0
    depth: int = 0
    seconds: float = 0.0
    trace: list = dataclasses.field(default_factory=list)
    broken: str = ""      # why the model cannot be searched
    skip: str = ""        # why it is skipped

    def right(self):
        return self.found == ("verified" if self.expected == "equivalent" else self.expected)

    def wants_error(self):
        return self.expected in ("found", "hangs")

    def folder(self):
        return f"{BUILD}/{self.model}.{self.name}"


# ---- What there is to check -----------------------------------------------------------------------------------------

def modelled(axis):
    """{name: define} of the policies (POLICY) or back-ends (BACKEND) that the models know."""
    with open(NUMBERS, encoding="utf-8") as f:
        lines = re.search(rf"^// The values of {axis}:.*\n((?:#define .*\n)+)", f.read(), re.M)
    defines = re.findall(r"#define (\w+) ", lines[1]) if lines else []
    return {define.removeprefix("POLICY_").lower().replace("_", "-"): define for define in defines}


def pairs(model):
    """Each modelled policy with each modelled back-end; a policy or back-end without a model is a skip with its
    name."""
    policies, backends = axes.policies(), axes.backends()
    some_policies, some_backends = modelled("POLICY"), modelled("BACKEND")
    if gone := [*(set(some_policies) - set(policies)), *(set(some_backends) - set(backends))]:
        raise ModelError(f"{NUMBERS} has values that are not in mm/: {', '.join(sorted(gone))}")
    found = [Variant(model, f"{p}+{b}", "verified" if axes.is_safe(policies[p], backends[b]) else "found",
                     [f"POLICY={some_policies[p]}", f"BACKEND={some_backends[b]}"])
             for p in some_policies for b in some_backends]
    found += [Variant(model, f"{p}+*", "skipped", [], found="skipped", skip=f"policy {p} {NO_MODEL}")
              for p in policies if p not in some_policies]
    return found + [Variant(model, f"*+{b}", "skipped", [], found="skipped", skip=f"back-end {b} {NO_MODEL}")
                    for b in backends if b not in some_backends]


def variants_of(path):
    model, found, slow = os.path.basename(path)[:-len(".pml")], [], []
    with open(path, encoding="utf-8") as f:
        text = f.read()
    whole = included(path)
    asked = set(re.findall(r"\w+", " ".join(re.findall(r"^#(?:if|elif|ifdef|ifndef) (.*)$", whole, re.M))))
    for line in re.findall(r"^//! (.*)$", text, re.M):
        name, *words = line.split()
        if name == "pairs":
            found += pairs(model)
        elif name == "slow":
            slow += words
        elif words and words[0] in ("verified", "equivalent", "found", "hangs"):
            steps = [d for d in [name] + words[1:] if "=" not in d and d in asked]
            defines = steps + [d for d in words[1:] if "=" in d]
            if set(words[1:]) - set(defines) or (words[0] == "equivalent" and not steps):
                raise ModelError(f"{path}: the model does not test what is defined in \"{line}\"")
            found.append(Variant(model, name, words[0], defines))
        else:
            raise ModelError(f"{path}: what does \"{line}\" mean?")
    for v in found:
        v.size = len(whole)
        v.slow = v.name in slow or (not v.wants_error() and any(fnmatch.fnmatch(v.name, s) for s in slow))
    return found


def included(path):
    """A model's text, and the text of all files that it includes."""
    with open(path, encoding="utf-8") as f:
        text = f.read()
    return text + "".join(included(f"{FOLDER}/{name}") for name in re.findall(r'#include "(.*)"', text))


def all_variants():
    """A model that cannot be read is a variant that fails."""
    found = []
    for path in sorted(glob.glob(f"{FOLDER}/*.pml")):
        try:
            found += variants_of(path)
        except mishap.ANY as error:
            found.append(Variant(os.path.basename(path)[:-len(".pml")], "*", "verified", [], broken=str(error)))
    quick = [v for v in found if v.wants_error() and not v.slow]
    for v in quick:
        v.repeats = any(other.name == v.name and other.size < v.size for other in quick)
    return found


# ---- One search -----------------------------------------------------------------------------------------------------

def command(words, folder, budget, what):
    status, output, hung = patience.run(words, budget, cwd=folder)
    if hung:
        raise ModelError(f"{what}: {hung}")
    return status, output


def build(v):
    """Build the verifier. NOREDUCE: no partial-order reduction, every interleaving is searched. BFS where a
    counterexample is wanted: the first that it finds is a shortest one."""
    shutil.rmtree(v.folder(), ignore_errors=True)
    os.makedirs(v.folder())
    source = os.path.relpath(f"{FOLDER}/{v.model}.pml", v.folder())
    defines = [f"-D{d}" for d in v.defines]
    status, output = command(["spin", *defines, "-a", source], v.folder(), 600, "spin")
    if status or re.search(r"\bError:|^error:", output, re.M) or not os.path.exists(f"{v.folder()}/pan.c"):
        raise ModelError(f"spin refuses the model: {output.strip()[:300]}")
    flags = ["-O1" if v.slow else "-O0", "-w", "-DSAFETY", "-DNOREDUCE", "-DVECTORSZ=512", f"-DMEMLIM={MEGABYTES}"]
    flags += ["-DBFS"] if v.wants_error() else []
    status, output = command(["gcc", *flags, "-o", "pan", "pan.c"], v.folder(), 600, "gcc")
    if status:
        raise ModelError(f"gcc: {output.strip()[:300]}")
    return [*defines, source]


def judge(v, output):
    """What the verifier says; only an exhaustive search without an error verifies."""
    numbers = re.search(r"State-vector (\d+) byte, depth reached (\d+), errors: (\d+)\s+(\d+) states, stored", output)
    if not numbers:
        raise ModelError(f"no result: {output.strip()[-300:]}")
    v.depth, v.states = int(numbers[2]), int(numbers[4])
    for bad in ("max search depth too small", "out of memory", "Bit statespace", "Hash-Compact", "reached -DMEMLIM"):
        if bad in output:
            raise ModelError(bad)
    if int(numbers[3]):
        return "hangs" if "invalid end state (" in output else "found"
    if "Full statespace search" not in output or "Search not completed" in output:
        raise ModelError("the search was not completed")
    return "verified"


def replay(v, source):
    """The counterexample, one line per step: column n has what CPU n does."""
    trails = glob.glob(f"{v.folder()}/*.trail")
    if len(trails) != 1:
        raise ModelError("an error, but no trail")
    _, output = command(["spin", "-k", os.path.basename(trails[0]), "-t", *source], v.folder(), 600, "replay")
    steps = [(int(m[1]), " ".join(m[2].split())) for m in re.finditer(r"@(\d+)\s(.*)", output)]
    if not steps:
        raise ModelError(f"the replay says nothing: {output.strip()[:300]}")
    for number, (cpu, text) in enumerate(steps, 1):
        v.trace.append(f"{number:4}  {' ' * 42 * cpu}CPU {cpu}: {text}")
    if violated := re.search(r"spin: .*?([\w.]+\.pml):(\d+), Error: assertion violated", output):
        text = re.search(r"text of failed assertion: assert\((.*)\)", output)
        v.trace.append(f"      violated: {text[1] if text else ''} ({violated[1]}:{violated[2]})")
    else:
        v.trace.append("      violated: no process can take another step, and not all have ended")


def check(v, wants_trace):
    if v.skip:
        return v
    start = time.monotonic()
    try:
        if v.broken:
            raise ModelError(v.broken)
        source = build(v)
        # 2^w slots of the hash table, all of which are cleared first: for a small search most of its time
        _, output = command(["./pan", f"-m{DEPTH}", f"-w{24 if v.slow else 18}"], v.folder(), PAN_SECONDS, "the search")
        with open(f"{v.folder()}/pan.log", "w", encoding="utf-8") as log:
            log.write(output)
        v.found = judge(v, output)
        if v.found != "verified" and (wants_trace or not v.right()):
            replay(v, source)
    except ModelError as error:
        v.found = str(error).splitlines()[0]
    except mishap.ANY as error:
        v.found, v.trace = mishap.sentence(error), mishap.details(error)
    for name in glob.glob(f"{v.folder()}/pan*"):
        if not name.endswith(".log"):
            os.remove(name)
    v.seconds = time.monotonic() - start
    return v


# ---- Reports --------------------------------------------------------------------------------------------------------

def print_table(results):
    width = max((len(v.name) for v in results.variants), default=0)
    print(f"{'model':10} {'variant':{width}} {'expected':10} {'found':9} {'states':>9} {'depth':>6} {'seconds':>7}")
    for v in results:
        mark = "" if v.right() else "   <-- WRONG"
        print(f"{v.model:10} {v.name:{width}} {v.expected:10} {v.found:9} {v.states:9} {v.depth:6} "
              f"{v.seconds:7.1f}{mark}", flush=True)
    for v in results.variants:
        if v.trace:
            print(f"\n{v.model} {v.name}: counterexample ({'expected' if v.right() else 'NOT EXPECTED'})")
            print("\n".join(v.trace))


def print_ktap(results):
    print(f"KTAP version 1\n1..{len(results.variants)}")
    for number, v in enumerate(results, 1):
        if not v.right():
            print(f"# ERROR: expected: {v.expected}; found: {v.found}")
            print("\n".join(f"# {line}" for line in v.trace))
        skip = f" # SKIP {v.skip}" if v.skip else ""
        print(f"{'ok' if v.right() else 'not ok'} {number} models.{v.model}.{v.name}{skip}", flush=True)


class Results:
    """The variants in order, each as soon as it and those before it are done; with the trace of each counterexample, or
    only of those that are not expected."""

    def __init__(self, variants, jobs, all_traces):
        self.variants, self.jobs, self.check = variants, jobs, functools.partial(check, wants_trace=all_traces)

    def __iter__(self):
        with concurrent.futures.ThreadPoolExecutor(self.jobs) as pool:
            yield from pool.map(self.check, self.variants)


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main():
    parser = argparse.ArgumentParser(description="checks the models of tests/models/")
    parser.add_argument("--quick", action="store_true", help="without what is slow or repeated")
    parser.add_argument("--ktap", action="store_true", help="report as KTAP")
    parser.add_argument("--list", action="store_true", help="only name the variants and what is expected of them")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count()))
    parser.add_argument("patterns", nargs="*", default=["*"], help="globs of MODEL.VARIANT")
    options = parser.parse_args()
    start = time.monotonic()
    try:
        variants = [v for v in all_variants() if not (options.quick and (v.slow or v.repeats)) and
                    any(fnmatch.fnmatch(f"{v.model}.{v.name}", p) for p in options.patterns)]
        if not variants:
            raise ModelError("no variant matches")
    except ModelError as error:
        print(f"models: {error}")
        return 1
    if options.list:
        print("\n".join(f"{v.model}.{v.name} {v.expected} {' '.join(v.defines)}" for v in variants))
        return 0
    results = Results(variants, options.jobs, not options.ktap)
    (print_ktap if options.ktap else print_table)(results)
    wrong = [f"{v.model}.{v.name}" for v in variants if not v.right()]
    searched = [v for v in variants if not v.skip]
    print(f"{'# ' if options.ktap else chr(10)}{len(searched)} variants, {sum(v.states for v in variants)} states, "
          f"{time.monotonic() - start:.0f} s ({cpu_seconds():.0f} s of CPU time); {len(wrong)} not as expected "
          f"{' '.join(wrong)}".rstrip())
    for v in variants:
        if v.skip and not options.ktap:
            print(f"skipped: {v.skip}")
    print(f"{len(searched) - len(wrong)} passed, {len(wrong)} failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
