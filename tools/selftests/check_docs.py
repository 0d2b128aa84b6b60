# SPDX-License-Identifier: MIT
"""Checks of README.md and docs/, and of the paths that they and the comments of the sources name. Reported as KTAP."""
import collections
import fnmatch
import glob
import os
import pathlib
import re
import sys

import axes
import diagrams
import sample
from selftests import selftest

suite = selftest.Suite("docs")


def documents():
    """path, text of each."""
    return [(path, pathlib.Path(path).read_text(encoding="utf-8")) for path in [*sorted(glob.glob("*.md")), *sorted(glob.glob("docs/**/*.md", recursive=True))]]


@suite.test
def prose_is_at_most_120_columns_wide():
    """Code and tables may be wider."""
    wrong = []
    for path, text in documents():
        prose = re.sub(r"(?ms)^```.*?^```", "", text)
        wrong += [f"{path}: {line}" for line in re.findall(r"(?m)^(?!    | *\|).{121,}", prose)]
    return wrong


@suite.test
def every_document_is_listed_once():
    """In docs/README.md, in the lists under "By subject"; its other sections may name a document as often as they like."""
    text = pathlib.Path("docs/README.md").read_text(encoding="utf-8").partition("\n## By subject\n")[2]
    listed = [os.path.normpath(f"docs/{link}") for link in re.findall(r"(?m)^- \[[^]]*\]\(([^)\s#]+)\)", text)]
    documents_of_docs = [path for path, _ in documents() if path.startswith("docs/") and path != "docs/README.md"]
    return [f"{path}: {listed.count(path)} times" for path in documents_of_docs if listed.count(path) != 1]


# ---- Paths ----------------------------------------------------------------------------------------------------------

# From the top of the tree, or just an end of one that says what it is of. Both may have stars.
FROM_THE_TOP = re.compile(r"(?<![\w./<-])(?:arch|boot|docs|kernel|lab|linker|mm|tests|tools)/(?:[\w*.-]+/)*(?:[\w*-]+\.\w+|(?![\w*]))")
END = re.compile(r"(?<![\w./<*-])(?:[\w*-]+/)*[\w*-]+\.(?:asm|c|h|md|mk|pml|py)(?![\w/*(-])")
OTHERS = ("arch/x86/kernel/kvm.c", "arch/x86/kvm/x86.c", "include/asm-generic/tlb.h", "mm/pt_reclaim.c",  # Linux's
          "target/i386/tcg/emit.c",  # QEMU's
          "xen/include/public/arch-x86/hvm/start_info.h", "xen/include/public/io/console.h", "xen/include/public/vcpu.h",
          "xen/include/public/hvm/hvm_op.h", "xen/arch/x86/mm/hap/hap.c",
          "xen/common/rwlock.c", "arch-x86/cpuid.h",  # Xen's
          "mm/policy/NAME.c", "mm/flush/NAME.c", "mm/policy/example.c", "mm/flush/example.c",  # to be written
          "mm/policy/announce.c", "tests/lab/example.c", "tests/bench/example.c", "tests/models/NAME.pml")


def ends_of_paths():
    """Of every file and folder of the tree."""
    found = set()
    for where, folders, names in os.walk("."):
        folders[:] = sorted(set(folders) - {"build", ".git", "__pycache__"})
        for path in [*(f"{where}/{name}" for name in names), *(f"{where}/{name}/" for name in folders)]:
            parts = path.removeprefix("./").rstrip("/").split("/")
            found |= {"/".join(parts[n:]) + "/" * path.endswith("/") for n in range(len(parts))}
    return found


def dead(text, pattern, have):
    for path in (re.sub(r"\.o$", ".c", path) for path in pattern.findall(text)):
        if path not in OTHERS and path not in have and not ("*" in path and fnmatch.filter(have, path)):
            yield path


def comments(path):
    marks = r";.*" if path.endswith(".asm") else r"//.*|/\*.*|^ \*.*|\t\* .*"
    return "\n".join(re.findall(marks, pathlib.Path(path).read_text(encoding="utf-8"), re.M))


@suite.test
def no_path_is_dead():
    """Documents and comments name files by their ends, too. Tools name them in strings; their own tests make some up."""
    have, wrong = ends_of_paths(), []
    sources = [path for path in glob.glob("**/*.*", recursive=True)
               if path.endswith((".c", ".h", ".asm", ".pml")) and not path.startswith("build/")]
    tools = [path for path in glob.glob("tools/**/*.*", recursive=True) if path.endswith((".py", ".sh", ".txt", ".sweep"))
             and "/selftests/" not in path]
    tools += ["Makefile", ".ci/run", *glob.glob("tests/**/*.mk", recursive=True), *glob.glob("tests/**/*.supp", recursive=True)]
    for path, text in documents() + [(path, comments(path)) for path in sources]:
        wrong += [f"{path}: {name}" for name in dead(text, END, have)]
    for path, text in documents() + [(path, pathlib.Path(path).read_text(encoding="utf-8")) for path in tools]:
        wrong += [f"{path}: {name}" for name in dead(text, FROM_THE_TOP, have)]
    return wrong


def without_blocks(text):
    return re.sub(r"(?ms)^```.*?^```", "", text)


def anchors(path):
    """As GitHub makes them of headings; a second heading of the same words gets a number."""
    found = collections.Counter()
    for head in re.findall(r"(?m)^#+ (.*)$", without_blocks(pathlib.Path(path).read_text(encoding="utf-8"))):
        name = re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-")
        found[name] += 1
        yield name if found[name] == 1 else f"{name}-{found[name] - 1}"


# [text](target "title"), [name]: target, and HTML's attributes.
LINK = re.compile(r"""\]\(\s*<?([^)\s>]+)>?(?:\s+"[^"]*")?\s*\)|(?m:^ {0,3}\[[^\]^]+\]:\s+<?(\S+?)>?(?:\s|$))"""
                  r"""|\b(?:href|src|srcset)=["']([^"']+)["']""")


def links(text):
    return ["".join(found) for found in LINK.findall(without_blocks(text))]


@suite.test
def no_link_is_dead():
    wrong = []
    for path, text in documents():
        named = {name.lower() for name in re.findall(r"(?m)^ {0,3}\[([^\]^]+)\]:\s", without_blocks(text))}
        for words, name in re.findall(r"\[([^\][]+)\]\[([^\]]*)\]", re.sub(r"`[^`]*`", "", without_blocks(text))):
            wrong += [] if (name or words).lower() in named else [f"{path}: [{words}][{name}] is defined nowhere"]
        for link in links(text):
            target, _, anchor = link.partition("#")
            there = os.path.normpath(os.path.join(os.path.dirname(path), target)) if target else path
            if "://" not in link and not (os.path.exists(there) and (not anchor or anchor in anchors(there))):
                wrong.append(f"{path}: {link}")
    return wrong


# ---- Names ----------------------------------------------------------------------------------------------------------

# Of Linux, QEMU, Xen, XNU, OSv and the manuals, and what docs/tutorial.md writes.
OTHER_NAMES = re.compile(r"CONFIG_PT_RECLAIM|IA32_\w+|collapse_huge_page|retract_page_tables|tlb_remove_table_sync_one|"
                         r"huge_pmd_unshare|mm_struct|FOLL_PIN|split_huge_pmd|KVM_VCPU_FLUSH_TLB|announce_\w+|helper_\w+|"
                         r"cpu_interrupt|cpu_set_fpus|cpu_clear_ignne|cpu_vmexit|do_vmexit|bql_lock|HF2_\w+|tcg_\w+|tb_\w+|"
                         r"int_ctl|pmap_retype_epoch_\w+|_percpu_write_lock|intermediate_page_post|apic_sw_disabled|"
                         r"preempt_notifier_inc|finish_task_switch|asm_exc_int3|native_queued_spin_lock_slowpath")


def sources_text():
    paths = [path for path in glob.glob("**/*", recursive=True) if not path.startswith(("build/", "docs/", "tools/selftests/check_docs"))
             and path.endswith((".c", ".h", ".asm", ".pml", ".py", ".sh", ".txt", ".mk", ".ld", "Makefile"))]
    return "\n".join(pathlib.Path(path).read_text(encoding="utf-8") for path in paths if os.path.isfile(path))


@suite.test
def names_in_prose_exist():
    """Functions, constants, fields, mutants and counters by a word of the sources, tests by the names of a suite and a word."""
    text = sources_text()
    words, wrong = set(re.findall(r"\w+", text)), []
    suites = set(re.findall(r"\bTEST\w*\((\w+), ", text))
    for path, prose in documents():
        found = re.findall(r"`([A-Za-z_]\w*)\(\)`", prose) + re.findall(r"`([A-Za-z]\w*_\w+)`", prose)
        wrong += [f"{path}: {name}" for name in found if name not in words and not OTHER_NAMES.fullmatch(name)]
        wrong += [f"{path}: {test_suite}.{name}" for test_suite, name in re.findall(r"`([a-z]\w+)\.([a-z]\w*)`", prose)
                  if test_suite in suites and name not in words]
    return wrong


# ---- Figures --------------------------------------------------------------------------------------------------------

@suite.test
def tables_show_what_was_measured():
    """make run && python3 tools/sample.py build/run/*.log measures README.md's anew."""
    return [f"{path}: its table is not that of the kept measurements: python3 tools/sample.py" for path in sample.stale()]


def rows(text, first):
    """The cells of the README's table whose first column is headed so, by the name in that column."""
    table = re.search(rf"(?ms)^\| {first}.*?\n\n", text)[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:] if line]
    return {row[0].strip("` "): row for row in cells}


@suite.test
def readme_says_what_is_safe():
    """Of each policy and back-end that its tables name; one that somebody has added may be missing there."""
    text = pathlib.Path("README.md").read_text(encoding="utf-8")
    policies, backends, wrong = axes.policies(), axes.backends(), []
    flushing = rows(text, "back-end")
    for name, row in flushing.items():
        proves = backends[name].fields.get("proves_irqs_off_walks_ended") == "true"
        if row[2].startswith("yes") != proves:
            wrong.append(f"{name}: {row[2]}")
    for name, row in rows(text, "policy").items():
        keeps = {"WALKER_IRQS_OFF": "interrupts off", "WALKER_PREEMPT_OFF": "preemption off"}[policies[name].fields["walker"]]
        if not row[1].startswith(keeps):
            wrong.append(f"a walk under {name} keeps {keeps}, not {row[1]}")
        safe = [b for b in flushing if axes.is_safe(policies[name], backends[b])]
        said = list(flushing) if row[-1] == "all" else [] if row[-1] == "none" else re.findall(r"`(\S+)`", row[-1])
        if sorted(said) != sorted(safe):
            wrong.append(f"{name} is safe with {', '.join(safe) or 'none'}, not {row[-1]}")
    return wrong


# ---- Pictures -------------------------------------------------------------------------------------------------------

@suite.test
def diagrams_are_what_their_scripts_draw():
    """python3 tools/diagrams draws them anew."""
    wrong = []
    for name, text in diagrams.files().items():
        path = pathlib.Path("docs/img", name)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            wrong.append(f"{path} is not what tools/diagrams/ draws; to draw it: python3 tools/diagrams")
    return wrong


PICTURE = re.compile(r'<picture>\s*<source media="\(prefers-color-scheme: dark\)" srcset="([^"]+)-dark\.svg">\s*'
                     r'<img src="([^"]+)\.svg"[^>]* alt="[^"]+"[^>]*>\s*</picture>')


@suite.test
def pictures_have_both_forms_and_a_place():
    """Each picture of docs/img/ is in a document; wherever it is, with its dark form and with words for those who do not see
    it."""
    wrong, shown = [], set()
    for path, text in documents():
        found = [(dark, light) for dark, light in PICTURE.findall(text) if dark == light]
        shown |= {os.path.normpath(os.path.join(os.path.dirname(path), light)) for _, light in found}
        if len(re.findall(r"(?:src|srcset)=|!\[", without_blocks(text))) != 2 * len(found):
            wrong.append(f"{path}: a picture is not <picture>, its -dark.svg, and <img> with an alt text")
    there = {path.removesuffix(".svg").removesuffix("-dark") for path in glob.glob("docs/img/*.svg")}
    return wrong + [f"{path} is in no document" for path in sorted(there - shown)]


if __name__ == "__main__":
    sys.exit(selftest.main(suite))
