#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""docs/reference.md: writes what stands between its marks anew, from the sources: command-line keys, values, make targets
and variables, registration macros, names. The prose around the marks is written by hand. "check": only say which part is not
what the sources give; the exit status is 1 then."""
import glob
import inspect
import os
import re
import sys
import textwrap

import axes

PAGE = "docs/reference.md"
HELP = "tools/help.txt"
BLOCK = re.compile(r"(<!-- begin (\w+)[^\n]*-->\n).*?(<!-- end \2 -->)", re.S)
ONLY_HOST = ("tests/fuzz/", "tests/host/")  # not part of the kernel's image


class Wrong(Exception):
    """What the sources or the page lack, in words."""


def text_of(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def sources(pattern="c", folders=("arch", "kernel", "lab", "mm", "proc", "sys", "tests")):
    for path in sorted(path for folder in folders for path in glob.glob(f"{folder}/**/*.{pattern}", recursive=True)):
        if not path.startswith(ONLY_HOST):
            yield path, text_of(path)


def literal(words, defines):
    """A C expression of string literals and macros that are such, as the text that it is."""
    parts = re.findall(r'"((?:[^"\\]|\\.)*)"|(\w+)', words)
    return "".join(literal(defines[name], defines) if name else text for text, name in parts)


def cell(text):
    return text.replace("|", "\\|")


def table(head, rows):
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    return lines + [f"| {' | '.join(row)} |" for row in rows]


def filled(words):
    return textwrap.wrap(words, 120, break_on_hyphens=False, break_long_words=False)


def code(names):
    return ", ".join(f"`{name}`" for name in names)


# ---- Command-line keys ----------------------------------------------------------------------------------------------

KEY = re.compile(r'^CMDLINE_KEY(_LIST)?\((\w+),\s*((?:"(?:[^"\\]|\\.)*"|[A-Z_]+|\s)+),\s*\w+(?:,\s*\w+)?\);', re.M)
VALID = re.compile(r"(.*?) \((.*); default (.*)\)")
LIST = "one of those below"


def keys():
    """{key: (values, meaning, default, file)}"""
    found, defines = {}, {}
    texts = [*sources("[ch]")]
    for _, text in texts:
        defines |= dict(re.findall(r'^#define ([A-Z_]+) (".*")$', text, re.M))
    for path, text in texts:
        declared = len(re.findall(r"^CMDLINE_KEY(?:_LIST)?\(", text, re.M))
        for is_list, key, words in KEY.findall(text):
            declared -= 1
            doc = literal(words, defines)
            match = VALID.fullmatch(f"{LIST} ({doc})" if is_list else doc)
            if not match:
                raise Wrong(f'{path}: {key}= does not say "VALUES (MEANING; default VALUE)": {doc}')
            found[key] = (*match.groups(), path)
        if declared:
            raise Wrong(f"{path}: {declared} CMDLINE_KEY() that cannot be read")
    return found


def modes():
    """{name: file}"""
    found = {name: path for path, text in sources() for name in re.findall(r"^MODE\((\w+),", text, re.M)}
    return dict(sorted(found.items()))


# What a mode does is a sentence, which MODE() does not have.
OF_MODE = {
    "compare": "checking build: load every pair and judge it (`VERDICT`); release build: measure every benchmark (`BENCH`)",
    "test": "the tests that `test=` names, as KTAP",
    "bench": "the benchmarks that `bench=` names",
    "paths": "count the instructions of each hot path (`PATH`; [budgets.md](budgets.md)); one CPU or two",
    "trace": "record the scenes that `trace=` names (`TRACE`; [tracing.md](tracing.md))",
    "torture": "random operations, switches, preemptions and failures ([torture.md](torture.md))",
    "crash": "cause a page fault, to show what a panic prints",
    "run": "run the program that came with the boot ([programs.md](programs.md))",
    "print": "wait for a typed `p`, print 8,000 lines, wait for a `q`: tests of the console's readers",
}


def values_of(key, values):
    lists = {"mode": modes, "table_free": axes.policies, "tlb_flush": axes.backends}
    return code(lists[key]()) if values == LIST else f"`{cell(values)}`" if re.fullmatch(r"[\w|,-]+", values) else cell(values)


def block_keys():
    def row(key, values, meaning, default, path):
        values = values_of(key, values)
        is_value = re.fullmatch(r"\d[\w,]*|\*", default) or re.search(rf"\b{re.escape(default)}\b", values)
        return f"`{key}=`", values, cell(meaning), f"`{default}`" if is_value else default, f"`{path}`"
    return table(("key", "values", "meaning", "default", "declared in"), (row(key, *what) for key, what in sorted(keys().items())))


def block_modes():
    if wrong := set(modes()) ^ set(OF_MODE):
        raise Wrong(f"tools/reference.py, OF_MODE: say what these modes do, or leave them out: {', '.join(sorted(wrong))}")
    return table(("mode", "what it does", "declared in"), ((f"`{name}`", OF_MODE[name], f"`{path}`")
                                                           for name, path in modes().items()))


WALKER = {"WALKER_IRQS_OFF": "interrupts off", "WALKER_PREEMPT_OFF": "preemption off"}
WAITS = {"WAIT_FLUSH": "the flush", "WAIT_OWN": "its own means",
         "WAIT_REST": "its own means, where the flush has not proved"}


def block_policies():
    backends = axes.backends()

    def row(p):
        safe = [name for name, b in backends.items() if axes.is_safe(p, b)]
        lineage = re.search(r'\.lineage = "(.*?)"', p.text)
        return (f"`{p.name}`", WALKER[p.fields["walker"]], WAITS[p.fields["waits"]],
                "all" if len(safe) == len(backends) else code(safe) or "none", lineage[1] if lineage else "", f"`{p.path}`")
    return table(("policy", "a walk keeps", "waits for", "safe with", "from", "file"), map(row, axes.policies().values()))


def block_backends():
    def row(b):
        proves = "yes" if b.fields.get("proves_irqs_off_walks_ended") == "true" else "no"
        return (f"`{b.name}`", proves, "deferred" if "defer" in b.fields else "at once",
                "not everywhere" if "missing" in b.fields else "everywhere", f"`{b.path}`")
    return table(("back-end", "completion proves that interrupts-off walks have ended", "flush", "usable", "file"),
                 map(row, axes.backends().values()))


# ---- make -----------------------------------------------------------------------------------------------------------

ENTRY = re.compile(r"^  (\S.*?)  +(\S.*)$")


def help_sections():
    """{title: [(what stands left, its text in one line)]}, of tools/help.txt."""
    found, title = {}, ""
    for line in text_of(HELP).splitlines()[1:]:
        if not line.startswith(" "):
            title = line or title
            if line:
                found[title] = []
        elif match := ENTRY.match(line) if not line.startswith("   ") else None:
            found[title].append((match[1], match[2]))
        elif found[title]:
            left, text = found[title].pop()
            found[title].append((left, f"{text} {line.strip()}"))
        else:
            raise Wrong(f"{HELP}: what is \"{line}\" about?")
    return {title: rows for title, rows in found.items() if rows}


WORD = re.compile(r"""\b[A-Za-z_]+="[^"]*"|\b[A-Z_]+=(?:[\w*.]+(?<!\.))?|\bmode=\w+|\b(?:build|tests|tools|docs/img|docs/data)/(?:[\w./-]*[\w/])?|\bmake [a-z][\w-]*"""
                  r"""|(?<!\w)--\w+|\bdocs/([\w/]+\.md)""")


def marked(text):
    """A sentence of the help as Markdown: documents are links, what one types is code."""
    return WORD.sub(lambda match: f"[{os.path.basename(match[1])}]({match[1]})" if match[1] else f"`{match[0]}`", cell(text))


def block_targets():
    return table(("command", "what it does"), ((f"`{left}`", marked(text)) for left, text in help_sections()["Targets"]))


def variables():
    """{section: [(name, default, text)]}"""
    return {title: [(*left.split("=", 1), text) for left, text in rows] for title, rows in help_sections().items()
            if title.startswith("Variables")}


def block_variables():
    lines = []
    for title, rows in variables().items():
        lines += [f"**{title}:**", "", *table(("variable", "default", "meaning"), (
            (f"`{name}=`", f"`{default}`" if default else "", marked(text)) for name, default, text in rows)), ""]
    return lines[:-1]


# ---- Names ----------------------------------------------------------------------------------------------------------

def block_benchmarks():
    names = sorted(name for _, text in sources() for name in re.findall(r"^BENCHMARK\((\w+),", text, re.M))
    return filled(f"Values of `bench=`: {code(names)}.")


def block_paths():
    names = sorted(name for _, text in sources() for name in re.findall(r"^PATH\((\w+),", text, re.M))
    return filled(f"Names of paths: {code(names)}.")


def registering():
    """{macro: (arguments, set, header)}: macros of headers that end in REGISTER(), and whoever calls REGISTER() itself."""
    found = {}
    for path, text in sources("h"):
        for macro, arguments, body in re.findall(r"^#define (\w+)\(([^)]*)\)((?:.*\\\n)*.*)$", text, re.M):
            if match := re.search(r"\bREGISTER\((\w+),", body):
                found[macro] = (re.sub(r"(\w)_\b", r"\1", arguments), match[1], path)
    for path, text in sources():
        for name in re.findall(r"^REGISTER\((\w+), \w+\);", text, re.M):
            found[f"REGISTER({name}, …)"] = ("", name, path if name != "backends" else "mm/flush/flush.h")
    return dict(sorted(found.items()))


OF_MACRO = {
    "BENCHMARK": "a benchmark, with its share of the run's time; its body follows, with the parameter `budget_ns`",
    "CMDLINE_KEY": "a key: its name, `\"VALUES (MEANING; default VALUE)\"`, the function that takes a value",
    "CMDLINE_KEY_LIST": "a key whose values are listed by `print`; `doc` is `\"MEANING; default VALUE\"`",
    "DEFINE_TABLE_POLICY": "a policy, and its compiled walks; the fields of `struct table_policy` follow",
    "FRAME_FREED": "called for every frame that is freed",
    "IDLE_HANDLER": "called on a CPU that is about to idle",
    "MODE": "a mode: its name, the function that runs it and returns the exit status",
    "MUTANT": "a step that a test takes out: the condition of a statement of its own (checking builds)",
    "NMI_HANDLER": "called in every NMI",
    "PATH": "a hot path whose instructions are counted; fields of `struct path` follow",
    "REGISTER(backends, …)": "a flush back-end: a `struct flush_backend`",
    "STALL": "a point at which a test can hold a CPU (checking builds)",
    "SYSCALL": "a system call: Linux's number and name, the function",
    "TEST": "a test: suite, name, what it needs (`NEEDS_…`); its body follows",
    "THEFT_HANDLER": "called when the thief has preempted a CPU, and when the CPU is back",
    "TICK_HANDLER": "called in every timer tick",
    "USER_NO_MEMORY": "called when a program's memory, touched by the kernel, cannot be brought in: may some be had now?",
}


def block_macros():
    found = registering()
    if wrong := set(found) ^ set(OF_MACRO):
        raise Wrong(f"tools/reference.py, OF_MACRO: say what these macros declare, or leave them out: {', '.join(sorted(wrong))}")
    return table(("macro", "declares", "in"), (
        (f"`{name}({arguments})`" if arguments else f"`{name}`", OF_MACRO[name], f"`{path}`")
        for name, (arguments, _, path) in found.items()))


# ---- The page -------------------------------------------------------------------------------------------------------

BLOCKS = {name.removeprefix("block_"): function for name, function in list(globals().items())
          if name.startswith("block_") and inspect.isfunction(function)}


def generated(text):
    """The page with each block as the sources give it."""
    names = [match[2] for match in BLOCK.finditer(text)]
    if sorted(names) != sorted(BLOCKS):
        raise Wrong(f"{PAGE} has the blocks {', '.join(names)}; there must be {', '.join(sorted(BLOCKS))}")
    return BLOCK.sub(lambda match: match[1] + "\n" + "\n".join(BLOCKS[match[2]]()) + "\n\n" + match[3], text)


def stale():
    """The blocks that are not what the sources give."""
    text = text_of(PAGE)
    old, new = ({match[2]: match[0] for match in BLOCK.finditer(each)} for each in (text, generated(text)))
    return [name for name in new if old[name] != new[name]]


def main(arguments):
    try:
        if arguments == ["check"]:
            names = stale()
            print("\n".join(f"{PAGE}: \"{name}\" is not what the sources give: python3 tools/reference.py" for name in names))
            return 1 if names else 0
        text = text_of(PAGE)
        new = generated(text)
        if new != text:
            with open(f"{PAGE}.new", "w", encoding="utf-8") as f:
                f.write(new)
            os.replace(f"{PAGE}.new", PAGE)
        print(f"{PAGE}: {'written anew' if new != text else 'is as the sources give it'}")
        return 0
    except Wrong as error:
        print(f"reference: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
