# SPDX-License-Identifier: MIT
"""The rules that the sources keep (docs/DESIGN.md, layout), as tests of the suite `checks` (checks.py)."""
import glob
import os
import re

import axes
from selftests import selftest

SOURCES = ("arch", "boot", "kernel", "lab", "mm", "proc", "sys", "tests", "tools", "user")
suite = selftest.Suite("checks")
test = suite.test


def sources(*patterns):
    return sorted(f for p in patterns for f in glob.glob(p, recursive=True) if "__pycache__" not in f)


def offending(files, pattern, allowed=()):
    """file:line of each match."""
    found = []
    for path in files:
        with open(path, encoding="utf-8") as f:
            for number, line in enumerate(f, 1):
                if re.search(pattern, line) and not any(a in line for a in allowed):
                    found.append(f"{path}:{number}: {line.strip()}")
    return found


@test
def every_file_names_its_licence():
    files = sources(*(f"{d}/**/*.*" for d in SOURCES)) + ["Makefile", "linker.ld", "grub.cfg", ".ci/run"]
    wrong = []
    for path in files:
        with open(path, encoding="utf-8") as f:
            if "SPDX-License-Identifier: MIT" not in f.readline() + f.readline():
                wrong.append(path)
    return wrong


def portable():
    files = sources("kernel/**/*.[ch]", "lab/**/*.[ch]", "mm/**/*.[ch]", "tests/**/*.[ch]")
    return [f for f in files if not f.startswith("tests/arch/x86_64/")]


@test
def portable_code_names_no_register():
    return offending(portable(), r"\b(asm|__asm__|rdmsr|wrmsr|invlpg|mov\s+%cr\d)\b", allowed=("#define barrier()",))


def policies():
    """{name as an identifier: the text of its file}"""
    return {p.identifier: p.text for p in axes.policies().values()}


def backends():
    return {b.identifier: b.text for b in axes.backends().values()}


@test
def architecture_names_no_policy():
    files, names = sources("arch/**/*.[ch]", "arch/**/*.asm", "boot/*"), "|".join(policies())
    return offending(files, rf"\btable_policy\b|\b({names})_policy\b|\bpolicy_({names})\b")


@test
def core_names_no_policy_and_no_backend():
    """It names none by its header, by its name, or by a function that its file defines."""
    found = policies() | backends()
    text = "".join(found.values())
    names = "|".join({*found, *axes.policies(), *axes.backends()})
    functions = "|".join(re.findall(r"^(?!static)\w[\w *]*?\b(\w+)\(.*\)(?: \{.*)?$", text, re.M))
    files = [f for f in sources("kernel/**/*.[ch]", "lab/**/*.[ch]", "mm/**/*.[ch]")
             if not f.startswith(("mm/policy/", "mm/flush/"))]
    return offending(files, rf'"mm/(policy|flush)/(?:{names})\.h"|(?:_find|strcmp)\(.*"(?:{names})"|'
                            rf"\b(?:{names})_(?:policy|backend)\b|\b(?:{functions})\b")


@test
def mutants_are_whole_statements():
    """A mutant has an `if` statement of its own, whose condition it begins. Conditions of production code have none."""
    allowed = re.compile(r"^\s+(?:\} )?(?:else )?if \((?:!?MUTANT\(\w+\)\)|MUTANT\(\w+\) && (?!.*\|\|))")
    files = [f for f in sources("arch/**/*.[ch]", "kernel/**/*.[ch]", "lab/**/*.[ch]", "mm/**/*.[ch]") if f != "lab/mutant.h"]
    return [line for line in offending(files, r"\bMUTANT\(") if not allowed.match(re.sub(r"^\S+?:\d+: ", "\t", line))]


@test
def tests_arm_what_there_is():
    """A test that names a stall point or mutant that does not exist fails (harness.wrong_names_fail makes up two such
    names). Here the wrong name is found before anything boots."""
    wrong = []
    for hook, uses in (("STALL", r'\bstall_point\("(\w+)"\)'), ("MUTANT", r"\bmutant_(?:set\(|turn\(\"|turn_or_fail\(\")(\w+)")):
        there = set()
        for path in sources(*(f"{d}/**/*.[ch]" for d in ("arch", "kernel", "lab", "mm", "proc", "sys"))):
            with open(path, encoding="utf-8") as f:
                there.update(re.findall(rf"\b{hook}\((\w+)", f.read()))
        for path in sources("tests/**/*.[ch]"):
            with open(path, encoding="utf-8") as f:
                wrong += [f"{path}: {name}" for name in re.findall(uses, f.read())
                          if name not in there | states_of_a_switch() | {"mutant"} and not name.startswith("no_such_")]
    return wrong


def states_of_a_switch():
    """The stall points of REACHED(), which composes their names."""
    with open("mm/policy/switch.c", encoding="utf-8") as f:
        return {f"switch_{name}" for name in re.findall(r"\bREACHED\(c, (\w+),", f.read())}


@test
def nothing_calls_upwards():
    """The core and the frame allocator know nothing of spaces, back-ends and detectors, which register themselves.
    Allowed: main.c, which is the table of contents; banner.c, which prints the pair; mm/tlb.h, because a switch of
    threads loads the root."""
    above = r'#include "(mm/(?!frame/)|lab/(swmmu|oracle|quarantine|thief))'
    files = [f for f in sources("kernel/**/*.[ch]", "mm/frame/*.[ch]") if f not in ("kernel/main.c", "kernel/banner.c")]
    return offending(files, above, allowed=('"mm/tlb.h"',))


@test
def both_architectures_keep_the_contract():
    """Each function that the contract declares is defined by both architectures, or by the core."""
    names, wrong = set(), []
    for path in sources("arch/include/arch/*.h"):
        with open(path, encoding="utf-8") as f:
            names.update(re.findall(r"^(?!typedef|#|//)\w[\w *]*?\b(\w+)\([^;{]*\);", f.read(), re.M))
    for arch in ("x86_64", "host"):
        text = ""
        for path in sources(f"arch/{arch}/**/*.*", "kernel/**/*.c", "lab/*.c"):
            with open(path, encoding="utf-8") as f:
                text += f.read()
        wrong += [f"{arch}: {name}" for name in sorted(names)
                  if not re.search(rf"^(?!extern)\w[\w *]*?\b{name}\([^;{{]*\)[ \t]*(?://.*)?\s*\{{|^{name}:|^\w+\({name}\b", text, re.M)]
    return wrong


@test
def only_inval_invalidates():
    """The adversary (lab/swmmu.c) does not see an invalidation that bypasses mm/inval.h."""
    return offending([f for f in portable() if f != "mm/inval.h"], r"\barch_(flush_\w+|load_root)\b")


@test
def bits_of_entries_stay_in_arch():
    """All other code uses the pte_* functions of arch/include/arch/pte.h."""
    return offending([f for f in portable() if not f.startswith("tests/arch/")], r"\bPTE_[A-Z]")


# A function of foo.c or foo_bar.c is declared in foo.h or foo_internal.h, or in the contract in arch/include/arch/.
# Other homes: the headers of folders that are one module, and headers whose functions several files define.
MODULES = {"arch/host/": ["host.h"], "kernel/rcu/": ["rcu.h", "internal.h"], "mm/flush/": ["flush.h"]}
PARTS = {"mm/space.h": ["mm/discard.c", "mm/huge.c", "mm/move.c"],
         "mm/space_internal.h": ["mm/huge.c", "mm/move.c"], "mm/frame/slab.h": ["mm/frame/kmalloc.c"],
         "mm/frame/page.h": ["mm/frame/boot.c", "mm/frame/stock.c"]}
FUNCTION = r"^(?!static|typedef|return|#|\s|//)\w[\w *]*?\b(\w+)\([^;{}]*\)(?: __printf\([^)]*\))?"


def functions(path, end):
    with open(path, encoding="utf-8") as f:
        return re.findall(FUNCTION + end, f.read(), re.M)


def is_home(header, path):
    """May a function of that .c file be declared in that header?"""
    (folder, name), (of, stem) = os.path.split(header[:-2].removesuffix("_internal")), os.path.split(path[:-2])
    family = name == stem or stem.startswith(name + "_")
    module = any(path.startswith(m) and header in [m + h for h in headers] for m, headers in MODULES.items())
    return folder == of and family or module or folder == "arch/include/arch" or path in PARTS.get(header, [])


@test
def functions_are_declared_in_their_own_header():
    """And only once; and no .c file declares a function of another .c file."""
    declared, wrong = {}, []
    for path in sources(*(f"{d}/**/*.[ch]" for d in SOURCES if d != "user")):  # programs of their own
        for name in functions(path, ";"):
            declared.setdefault(name, []).append(path)
    for path in sources(*(f"{d}/**/*.c" for d in ("arch", "kernel", "lab", "mm", "proc", "sys"))):
        for name in functions(path, r"\s*\{"):
            elsewhere = [f for f in declared.get(name, []) if f != path]
            if len(elsewhere) > 1 or not all(f.endswith(".h") and is_home(f, path) for f in elsewhere):
                wrong.append(f"{name}() of {path} is declared in {' and '.join(elsewhere)}")
    return wrong


@test
def a_suite_is_a_file_or_a_folder():
    """Each TEST(suite, …) is in a file suite.c or in a folder suite/, and there is only one such file or folder."""
    wrong, homes = [], {}
    for path in sources("tests/**/*.c"):
        with open(path, encoding="utf-8") as f:
            tests = re.findall(r"^TEST\( *(\w+), *(\w+)", f.read(), re.M)
        folder, name = path.rsplit("/", 1)
        for suite, test_name in tests:
            home = path if suite == name.removesuffix(".c") and not folder.endswith(f"/{suite}") else folder
            homes.setdefault(suite, set()).add(home)
            if suite not in (folder.rpartition("/")[2], name.removesuffix(".c")):
                wrong.append(f"{path}: {suite}.{test_name}")
    return wrong + [f"{suite}: {', '.join(sorted(found))}" for suite, found in homes.items() if len(found) > 1]
