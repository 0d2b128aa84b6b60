# SPDX-License-Identifier: MIT
"""What a boot measured, from its result file (build/results/*.jsonl) or from the raw log of a serial line: the only
parser of the kernel's HEADER, BENCH, HIST, VERDICT, TRACE and PATH lines. docs/report.md has the format. A line that is
broken is an error that names the file and the line; it is never left out silently."""
import dataclasses
import glob
import gzip
import json
import os
import re
import zlib

import machine

# The kernel's word, Run's list, and the keys without which the line says nothing.
KINDS = {
    "BENCH": ("bench", ("name", "median")),
    "HIST": ("hist", ("name", "n", "min", "max", "bits", "buckets")),
    "VERDICT": ("verdicts", ("table_free", "tlb_flush", "claimed", "found")),
    "TRACE": ("trace", ("ns", "event", "ph")),
    "PATH": ("paths", ("name", "table_free", "unit", "count", "n", "equal")),
}
LINE = re.compile(r"(HEADER|" + "|".join(KINDS) + r") (.*)")
BANNER = re.compile(r"quiesce (?P<version>\d\S*): (?P<rest>build=\S+ commit=.*)")
EXIT = re.compile(r"quiesce: exit (\d+)$")
# What the banner says under the same names as a HEADER line.
BANNER_KEYS = ("build", "commit", "mutant", "firmware", "hypervisor", "apic", "clock", "table_free", "tlb_flush")
# Two measurements with the same values of these measure the same thing.
IDENTITY = ("name", "build", "table_free", "tlb_flush", "cpus", "others", "walkers", "pages", "remote", "stolen_us",
            "unit")


class Broken(ValueError):
    """A file or a line of it that is not what it should be; the text names both."""


@dataclasses.dataclass
class Run:
    """One boot."""
    path: str
    header: dict = dataclasses.field(default_factory=dict)
    bench: list = dataclasses.field(default_factory=list)
    hist: list = dataclasses.field(default_factory=list)
    verdicts: list = dataclasses.field(default_factory=list)
    trace: list = dataclasses.field(default_factory=list)
    paths: list = dataclasses.field(default_factory=list)

    def empty(self):
        return not any(getattr(self, name) for name, _ in KINDS.values())

    def add(self, kind, item):
        """A measurement; the ValueError says what is wrong with it."""
        name, keys = KINDS[kind]
        if lacking := [key for key in keys if key not in item]:
            raise ValueError(f"a {kind} line without {', '.join(lacking)}")
        if kind == "HIST":
            check_histogram(item)
        getattr(self, name).append(item)

    def sort_key(self):
        """Runs are told apart by what is in them, so that neither a file's name nor the order of files matters."""
        return json.dumps([self.header, self.verdicts, self.bench], sort_keys=True)


def identity(item):
    """The key under which a BENCH line and its HIST line, or those of two runs, belong together."""
    return tuple(item.get(key) for key in IDENTITY)


def instructions_of(item):
    """Of counted instructions: (the count that more than half of the samples have, True); without such a count (the
    fewest, which is exact, too, False)."""
    usual = item.get("usual")
    return (usual, True) if usual is not None else (item["min"], False)


def check_histogram(item):
    if item["bits"] != 6:
        raise ValueError(f"a histogram of {item['bits']} bits: only 6 is known")
    buckets = item["buckets"]
    if not isinstance(buckets, list) or not all(isinstance(b, list) and len(b) == 2 and all(type(x) is int for x in b)
                                                for b in buckets):
        raise ValueError("buckets are pairs of an index and a count")
    if any(a[0] >= b[0] for a, b in zip(buckets, buckets[1:])) or any(i < 0 or n < 1 for i, n in buckets):
        raise ValueError("buckets do not ascend, or have a count below 1")
    if sum(n for _, n in buckets) != item["n"]:
        raise ValueError(f"the buckets' counts do not add up to n={item['n']}")


def object_of(text):
    """A flat JSON object; a ValueError if it is something else."""
    def constant(name):
        raise ValueError(f"{name} is no JSON")

    found = json.loads(text, parse_constant=constant)
    if not isinstance(found, dict):
        raise ValueError("no JSON object")
    return found


def header_of_banner(match):
    """What the first line of a kernel says. Logs from before there were HEADER lines have nothing else."""
    words = dict(word.split("=", 1) for word in match["rest"].split() if "=" in word)
    header = {"version": match["version"]} | {key: words[key] for key in BANNER_KEYS if key in words}
    if words.get("cpus", "").isdecimal():
        header["cpus"] = int(words["cpus"])
    if words.get("mem", "").removesuffix("M").isdecimal():
        header["mem_mib"] = int(words["mem"].removesuffix("M"))
    return header


def parse_serial(lines, path):
    """The boots of a serial log, a Run for each: a banner begins the next one."""
    runs = []

    def current():
        if not runs:
            runs.append(Run(path))
        return runs[-1]

    for number, text in enumerate(lines, 1):
        if match := BANNER.match(text):
            runs.append(Run(path, header_of_banner(match)))
        elif match := EXIT.match(text):
            current().header["exit"] = int(match[1])
        elif match := LINE.match(text):
            try:
                item = object_of(match[2])
                if match[1] == "HEADER":
                    current().header.update(item)
                else:
                    current().add(match[1], item)
            except ValueError as error:
                raise Broken(f"{path}:{number}: broken {match[1]} line ({error}): {text[:80]}") from None
    for run in runs:
        for key in ("build", "cpus"):  # a log that begins in the middle
            if key not in run.header and run.bench and key in run.bench[0]:
                run.header[key] = run.bench[0][key]
    return runs


def parse_jsonl(lines, path):
    """The runs of a result file; of several, if files were put together: a HEADER begins the next."""
    runs = []
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            item = object_of(text)
            kind = item.pop("kind", None)
            if kind == "HEADER":
                runs.append(Run(path, item))
            elif kind not in KINDS:
                raise ValueError(f"kind is {kind!r}; known are HEADER, {', '.join(KINDS)}")
            elif not runs:
                raise ValueError("no HEADER before it")
            else:
                runs[-1].add(kind, item)
        except ValueError as error:
            raise Broken(f"{path}:{number}: broken line ({error}): {text[:80]}") from None
    return runs


def parse(lines, path="serial line"):
    """The runs in the lines of either kind of file."""
    first = next((text for text in lines if text.strip()), "")
    return (parse_jsonl if first.lstrip().startswith("{") else parse_serial)(lines, path)


def read(path):
    try:
        with open(path, "rb") as f:
            data = f.read()
        lines = [machine.clean(raw) for raw in (gzip.decompress(data) if path.endswith(".gz") else data).split(b"\n")]
    except (OSError, EOFError, zlib.error) as error:  # gzip's own error is an OSError without a number
        raise Broken(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    runs = [run for run in parse(lines, path) if not run.empty()]
    if not runs:
        raise Broken(f"{path}: no {', '.join(KINDS)} line in it")
    return runs


def expand(names):
    """Files, globs and folders as files, each once. Of a folder its result files, or if it has none, its logs."""
    paths = {}
    for name in names:
        if os.path.isdir(name):
            found = (glob.glob(f"{glob.escape(name)}/**/*.jsonl", recursive=True)
                     or glob.glob(f"{glob.escape(name)}/**/*.log", recursive=True))
        else:
            found = [name] if os.path.exists(name) else glob.glob(name)
        if not found:
            raise Broken(f"{name}: no such file")
        paths |= {os.path.realpath(path): path for path in sorted(found)}
    return sorted(paths.values())


def load(paths):
    """All runs in these files, in an order that depends on their content alone."""
    return sorted((run for path in expand(paths) for run in read(path)), key=Run.sort_key)


def write(path, header, lines):
    """A result file of one boot: the header, completed by what the kernel says of itself, then each measurement in the
    lines of its serial port. The file appears whole, or not at all. False if nothing was measured."""
    runs = parse_serial(lines, path)
    if all(run.empty() for run in runs):
        return False
    of_kernel = {key: value for run in runs for key, value in run.header.items()}
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(f"{path}.new", "w", encoding="utf-8") as f:
        f.write(json.dumps({"kind": "HEADER"} | of_kernel | header) + "\n")
        for text in lines:
            if (match := LINE.match(text)) and match[1] in KINDS:
                f.write(json.dumps({"kind": match[1]} | object_of(match[2]), separators=(",", ":")) + "\n")
    os.replace(f"{path}.new", path)
    return True
