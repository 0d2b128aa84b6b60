# SPDX-License-Identifier: MIT
"""docs/reference.md says what there is: its tables come from the sources, and what is written by hand agrees with constants,
tools and, with the argument "logs", with the lines that the boots of `verdicts`, `times`, `instructions` and `trace` have
printed, after these. Reported as KTAP."""
import collections
import datetime
import fnmatch
import json
import re
import sys
import unittest.mock

import axes
import host
import machine
import matrix
import qemu
import reference
import results
from selftests import selftest

suite, log_suite = selftest.Suite("reference"), selftest.Suite("reference-log")
MAKEFILES = ("Makefile", "tests/host/host.mk", "tests/fuzz/fuzz.mk", "user/user.mk")


# ---- The page's tables ----------------------------------------------------------------------------------------------

def section(title):
    """What stands below a heading, up to the next one of its rank or above."""
    rank = re.match("#+", title)[0]
    found = re.search(rf"(?ms)^{re.escape(title)}$\n(.*?)(?=^#{{1,{len(rank)}}} |\Z)", reference.text_of(reference.PAGE))
    if not found:
        raise ValueError(f"{reference.PAGE} has no heading \"{title}\"")
    return found[1]


def rows(text, *head):
    """The cells of each row of the table with these first columns."""
    for block in re.findall(r"(?m)(?:^\|.*\n)+", text):
        lines = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in block.splitlines()]
        if tuple(lines[0][:len(head)]) == head:
            return lines[2:]
    raise ValueError(f"no table with the columns {', '.join(head)}")


def names(cell):
    return re.findall(r"`([^`]+)`", cell)


def by_name(table):
    """{name: the other cells}"""
    return {name: cells for first, *cells in table for name in names(first)}


def differences(what, want, have):
    return [f"{what}: {kind} {', '.join(sorted(some))}" for kind, some in
            (("not on the page:", set(want) - set(have)), ("only on the page:", set(have) - set(want))) if some]


# ---- What comes from the sources ------------------------------------------------------------------------------------

def without_rows():
    """Policies and back-ends that somebody has added: one file is all that has to be written."""
    page = section("### Policies: `table_free=`") + section("### Flush back-ends: `tlb_flush=`")
    return [name for name in [*axes.policies(), *axes.backends()] if f"\n| `{name}` |" not in page]


@suite.test
def the_page_is_what_the_sources_give():
    """But for what has no row yet."""
    new = without_rows()
    with unittest.mock.patch.object(axes, "values", lambda *where, values=axes.values: {
            name: value for name, value in values(*where).items() if name not in new}):
        return [f"{reference.PAGE}: the part \"{name}\" is not what the sources give: python3 tools/reference.py" for name in
                reference.stale()]


@suite.test
def every_policy_and_back_end_has_its_row():
    if new := without_rows():
        raise machine.Lacking(f"{matrix.NO_ROW_OF}{', '.join(new)}: python3 tools/reference.py")
    return []


@suite.test
def a_part_that_is_not_what_the_sources_give_is_noticed():
    page = reference.generated(reference.text_of(reference.PAGE))
    broken = page.replace("| `hz=` | 100 to 1000 |", "| `hz=` | 100 to 9999 |")
    return [] if broken != page == reference.generated(broken) else ["a changed cell is not noticed"]


# Where a key's default stands, and the page's word for it.
DEFAULTS = {
    "allow_unsafe": ("mm/policy/verdict.c", r"^static bool opt_allow_unsafe;", "0"),
    "bench": ("kernel/options.c", r'opt_bench\[\d+\] = "(.*?)"', None),
    "hang": ("tests/torture/watch.c", r"^static enum \{ HANG_NOT,.* opt_hang;", "no"),
    "hold": ("arch/x86_64/hold.c", r"^static u32 seconds = (\d+);", None),
    "hz": ("kernel/time.c", r"^u32 tick_hz = (\d+);", None),
    "loglevel": ("kernel/log.c", r"^static u32 level_shown = LOG_(\w+);", None),
    "mode": ("kernel/mode.h", r'^#define MODE_DEFAULT "(\w+)"', None),
    "seed": ("kernel/options.c", r"^u64 opt_seed = (\d+);", None),
    "serial": ("arch/x86_64/serial.c", r"^#define FIRST_PORT (\w+)", "0x3f8,115200"),
    "table_free": ("mm/policy/policy.c", r'^\treturn p \? p : policy_find\("(\w+)"\);', None),
    "test": ("kernel/options.c", r'opt_test\[\d+\] = "(.*?)"', None),
    "tlb_flush": ("mm/flush/flush.c", r'^\treturn b \? b : flush_find\("(\w+)"\);', None),
    "watchdog": ("tests/torture/watch.c", r"^static u64 opt_watchdog = (\d+);", None),
}


@suite.test
def defaults_are_the_sources():
    """Of each key that has one by itself: not of those that depend on the machine or on the mode."""
    wrong = []
    for key, (_, _, default, _) in reference.keys().items():
        path, pattern, word = DEFAULTS.get(key, (None, None, None))
        if path is None:
            wrong += [f"{key}=: where does its default {default} come from?"] if re.fullmatch(r"[\w,*]+", default) and default not in (
                "all", "auto") else []
            continue
        match = re.search(pattern, reference.text_of(path), re.M)
        found = match and (word or match[1].lower())
        wrong += [] if found == default else [f"{key}=: the default is said to be {default}; {path}: {found}"]
    return wrong


@suite.test
def limits_are_the_sources():
    wrong = []
    for path, name, says in (("kernel/cmdline.h", "CMDLINE_MAX", "at most {:,}\ncharacters"),
                             ("kernel/cmdline.h", "CMDLINE_TOKEN_MAX", "a word at most {}")):
        value = int(re.search(rf"^#define {name} (\d+)", reference.text_of(path), re.M)[1])
        text = " ".join(reference.text_of(reference.PAGE).split())
        wrong += [] if " ".join(says.format(value).split()) in text else [f"{name} is {value}"]
    return wrong


@suite.test
def every_target_is_in_the_help():
    """And no other."""
    phony = {word for path in MAKEFILES for line in re.findall(r"^\.PHONY: (.*)$", reference.text_of(path), re.M)
             for word in line.split()} - {"FORCE", "all"}  # `make` is all
    told = {left.removeprefix("make ") for left, _ in reference.help_sections()["Targets"]} - {"make"}
    beside = set(re.findall(r"\bmake ([a-z][\w-]*)", reference.text_of(reference.HELP)))  # in the text of another one
    return differences("targets", phony, told | beside & phony)


@suite.test
def every_target_is_a_rule():
    """And every rule whose name is a word is declared to be no file."""
    texts = [reference.text_of(path) for path in MAKEFILES]
    rules = {word for text in texts for line in re.findall(r"(?m)^([a-z][\w -]*):(?!=)", text) for word in line.split()}
    phony = {word for text in texts for line in re.findall(r"^\.PHONY: (.*)$", text, re.M) for word in line.split()}
    return [f"{name} is in one of .PHONY and the rules" for name in sorted(rules ^ (phony - {"FORCE"}))]


@suite.test
def every_variable_is_in_the_help():
    """What the Makefile exports, gives a default that may be overridden, or hands to a tool as words; and no other, but for what
    a tool asks for by itself."""
    text = "\n".join(map(reference.text_of, MAKEFILES))
    used = set(re.findall(r"^([A-Z_]+) \?=", text, re.M)) | {"SECONDS", "TARGETS"}
    used |= {word for line in re.findall(r"^export (.*)$", text, re.M) for word in line.split()}
    used |= set(re.findall(r"\$\(foreach \w,\$\(([A-Z_]+)\),'", text)) | set(re.findall(r'\b([A-Z]+)="\$\(\1\)"', text))
    told = {name for section in reference.variables().values() for name, _, _ in section}
    tools = "\n".join(text for _, text in reference.sources("py", ("tools",))) + reference.text_of("tools/distro.sh")
    asked = {name for name in told - used if re.search(rf'environ(?:\.get\(|\[)"{name}"|\$\{{{name}:-|= "\${name}"', tools)}
    return differences("variables", used, told - asked)


@suite.test
def defaults_of_variables_are_the_makefiles():
    made = dict(line for path in MAKEFILES for line in re.findall(r"^([A-Z_]+) \?= *([^$\n]*)$", reference.text_of(path), re.M))
    told = {name: default.strip('"') for section in reference.variables().values() for name, default, _ in section}
    return [f"{name}={value}, on the page {told[name]}" for name, value in made.items() if told.get(name, value) != value]


@suite.test
def exit_statuses_are_the_kernels():
    want = dict(re.findall(r"\b(EXIT_\w+) = (\d+)", reference.text_of("kernel/panic.h")))
    table = rows(section("## Exit statuses"), "kernel", "constant", "QEMU")
    have = {names(constant)[0]: (status, of_qemu) for status, constant, of_qemu, _ in table}
    wrong = differences("exit statuses", want, have)
    for name in set(want) & set(have):
        status, of_qemu = have[name]
        if status != want[name] or qemu.exit_of(int(of_qemu)) != int(status):
            wrong.append(f"{name} is {want[name]}, which QEMU turns into {2 * (0x10 + int(want[name])) + 1}; on the page {have[name]}")
    return wrong + differences("statuses that tools have a word for", {str(n) for n in machine.EXIT_NAMES}, set(want.values()) - {"0"})


@suite.test
def the_hosts_keys_are_those_of_result_files():
    class Load:
        @staticmethod
        def others():
            return 0.5
    table = by_name(rows(section("## Result files"), "key of the host", "type"))
    asked = f"{machine.ASKED}ipi_xcall=1 flush_pv_flagged=2 flush_hv_calls=3 hvm_op=4"
    result = machine.Result(0, "success", [asked], 1.5, {("kvm_hv_hypercall", 2): 3})
    written = host.header(machine.Config(accel="nested"), result, Load, datetime.datetime.now())
    wrong = differences("keys of the host", [*written, "bochs"], table)
    return wrong + [f"{key} is no {table[key][0]}: {value!r}" for key, value in written.items()
                    if key in table and not is_a(table[key][0], value)]


@suite.test
def events_of_traces_are_the_sources():
    found = collections.defaultdict(set)
    for name, phase in re.findall(r"^\tX\(\w+, \"(\w+)\", '(\w)'\)", reference.text_of("lab/trace.h"), re.M):
        found[name].add(phase)
    table = by_name(rows(section("### `TRACE`"), "event", "`ph`"))
    return differences("events", found, table) + [f"{name}: {', '.join(sorted(found[name]))}" for name in set(found) & set(table)
                                                  if found[name] != set(names(table[name][0]))]


# ---- Lines of boots -------------------------------------------------------------------------------------------------

LOGS = [f"build/test/{name}.log" for name in ("verdicts", "times", "instructions", "trace")]
PATHS_LOG = "build/test/reference-paths.log"
LINE = re.compile(r"(HEADER|BENCH|HIST|VERDICT|TRACE|PATH) (\{.*\})$")
TYPES = {"number": int, "string": str, "list": list}


def is_a(kind, value):
    kind, _, null = kind.partition(" or ")
    return value is None and null == "null" or isinstance(value, TYPES.get(kind, object)) or (kind == "number" and
                                                                                             isinstance(value, float))


class Format:
    """What the page says of one kind of line: {key: type}, and {key: (type, which lines have it)}."""

    def __init__(self, kind):
        text = section(f"### `{kind}`")
        self.always = {key: cells[0] for key, cells in by_name(rows(text, "key", "type", "meaning")).items()}
        self.sometimes = by_name(rows(text, "key", "type", "lines")) if kind == "BENCH" else {}

    def wrong_with(self, item):
        """Of one line."""
        wrong = [f"without {key}" for key in self.always if key not in item]
        for key, value in item.items():
            if key in self.sometimes:
                patterns = names(self.sometimes[key][1])
                if "unit" not in patterns and not any(fnmatch.fnmatch(item["name"], p) for p in patterns):
                    wrong.append(f"{key} in a line of {item['name']}")
            elif key not in self.always:
                wrong.append(f"{key}, which is not on the page")
            kind = self.sometimes[key][0] if key in self.sometimes else self.always.get(key, "")
            wrong += [] if is_a(kind, value) else [f"{key} is {value!r}, not a {kind}"]
        return wrong

    def unseen(self, items):
        """What the page says and no line has: a key, or a null."""
        seen = {key for item in items for key in item}
        nulls = {key for item in items for key, value in item.items() if value is None}
        return [f"no line has {key}" for key in self.sometimes if key not in seen] + [
            f"{key} is never null" for key, kind in self.always.items() if kind.endswith(" or null") and key not in nulls]


def boot_for_paths():
    """mode=paths, whose lines no other configuration keeps."""
    config = machine.Config(smp=1, build="release", cmdline="mode=paths")
    with open(PATHS_LOG, "w", encoding="utf-8") as log:
        result = machine.run(config, on_line=lambda line: log.write(line + "\n"))
    if not result.ok:
        raise machine.Unavailable(f"mode=paths: {result.sentence} ({PATHS_LOG})")


def lines_of(*paths):
    return [line for path in paths for line in reference.text_of(path).splitlines()]


def items_of(lines):
    """{kind: the objects of its lines}"""
    found = collections.defaultdict(list)
    for line in lines:
        if match := LINE.match(line):
            found[match[1]].append(json.loads(match[2]))
    return found


def disagreements(lines):
    """Between these lines and the page; the first of each kind of line."""
    items, wrong = items_of(lines), []
    for kind in ("HEADER", *results.KINDS):
        form = Format(kind)
        problems = [problem for item in items[kind] for problem in form.wrong_with(item)] + form.unseen(items[kind])
        wrong += [f"{kind}: {problem}" for problem in dict.fromkeys(problems)] if items[kind] else [f"no {kind} line"]
    return wrong


@log_suite.test
def keys_of_lines_are_those_of_the_page():
    boot_for_paths()
    return disagreements(lines_of(*LOGS, PATHS_LOG))[:20]


@log_suite.test
def other_keys_are_noticed():
    """A key more, one less, one of another type, one in the wrong lines, and one that no line has."""
    lines = lines_of(*LOGS, PATHS_LOG)
    bench = next(line for line in lines if line.startswith("BENCH ") and '"name":"walk"' in line)
    cases = {"BENCH: more, which is not": bench.replace('"v":1', '"v":1,"more":1'), "BENCH: without others":
             re.sub(r'"others":\d+,', "", bench), "BENCH: cpus is 'two'": re.sub(r'"cpus":\d+', '"cpus":"two"', bench),
             "BENCH: tick in a line of walk": bench.replace('"v":1', '"v":1,"tick":1')}
    wrong = []
    for says, line in cases.items():
        found = disagreements([*lines, line])
        wrong += [] if any(problem.startswith(says) for problem in found) else [f"\"{says}\" is not noticed: {found}"]
    few = [line for line in lines if '"usual":' not in line]
    return wrong + ([] if "BENCH: no line has usual" in disagreements(few) else ["a key that no line has is not noticed"])


@log_suite.test
def the_first_line_is_that_of_the_page():
    table, wrong = by_name(rows(section("### The first line"), "key", "values")), []
    for line in lines_of(*LOGS, PATHS_LOG):
        if line.startswith("quiesce ") and " build=" in line:
            wrong += differences("first line", re.findall(r"\b(\w+)=", line), table)
    return wrong or ([] if table else ["no first line"])


@log_suite.test
def names_of_measurements_are_explained():
    """In the table of docs/measuring.md."""
    told = by_name(rows(reference.text_of("docs/measuring.md"), "name", "one operation"))
    return [f"docs/measuring.md says nothing of {name}" for name in
            sorted({item["name"] for item in items_of(lines_of(*LOGS))["BENCH"]} - set(told))]


@log_suite.test
def events_have_the_phases_of_the_page():
    table = by_name(rows(section("### `TRACE`"), "event", "`ph`"))
    seen = {(item["event"], item["ph"]) for item in items_of(lines_of(*LOGS))["TRACE"]}
    return [f"{event}, {phase}" for event, phase in sorted(seen) if phase not in names(table.get(event, [""])[0])]


if __name__ == "__main__":
    sys.exit(selftest.main(log_suite if sys.argv[1:] == ["logs"] else suite))
