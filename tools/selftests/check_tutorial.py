# SPDX-License-Identifier: MIT
"""docs/tutorial.md does what it says: its commands are executed in order in a copy of the tree, and each must print what
the tutorial says that it prints. Reported as KTAP, a test for each step; a step after one that has failed is not tried.
No time is judged. `tutorial all`: the slow commands too, which boot emulators; `tutorial show`, `tutorial all show`: print
all that the commands print, to write the tutorial by.

A block ```sh is executed by bash from the top of the tree; words behind `sh`: `slow` (only with `all`), `by-hand` (never:
what is not done in a copy), `status=N` (its exit status, if not 0). The block ```text behind it is what it prints, in this
order, among other lines; `…` stands for any text. Figures may differ. (```text example: what one run prints, which is not
compared.)"""
import dataclasses
import os
import re
import sys
import tempfile

import machine
import matrix
from selftests import copied, selftest

suite = selftest.Suite("tutorial")
PAGE = "docs/tutorial.md"
POLICY = "mm/policy/announce.c"  # that it adds
OBJECTS = ("host", "check", "release", "version.c", "font.c")  # of build/
BUDGET = 900
ALL, SHOW = "all" in sys.argv[1:], "show" in sys.argv[1:]
FENCE = re.compile(r"^```(\w*) ?(.*)$")
FIGURE = re.compile(r"\b(?:0x)?[0-9a-f]{8,}\b|\b0x[0-9a-f]+\b|\d[\d,.]*(?:[kM]\b)?")
NOTHING = re.compile(r"\b0 (failed|violations|not as expected)\b")  # here 0 is no figure among others


class Broken(Exception):
    pass


@dataclasses.dataclass
class Block:
    line: int
    text: str
    words: list
    says: list = dataclasses.field(default_factory=list)

    def status(self):
        return next((int(word[7:]) for word in self.words if word.startswith("status=")), 0)

    def runs(self):
        return "by-hand" not in self.words and (ALL or "slow" not in self.words)


# ---- Reading --------------------------------------------------------------------------------------------------------

def fences(text):
    """(line, language, words, lines of the block) of each, and (line, "#", [], [heading]) of each heading."""
    inside = None
    for number, line in enumerate(text.splitlines(), 1):
        if inside is None:
            if match := FENCE.match(line):
                inside = (number, match[1], match[2].split(), [])
            elif line.startswith("## "):
                yield number, "#", [], [line[3:]]
        elif line == "```":
            yield inside
            inside = None
        else:
            inside[3].append(line)
    if inside:
        raise Broken(f"{PAGE}:{inside[0]}: this block does not end")


def steps(text):
    """{heading: its blocks}"""
    found, last, blocks = {}, None, []
    for number, language, words, lines in fences(text):
        if language == "#":
            last, blocks = None, found.setdefault(lines[0], [])
        elif language == "sh":
            last = Block(number, "\n".join(lines), words)
            if unknown := [word for word in words if not re.fullmatch(r"slow|by-hand|status=\d+", word)]:
                raise Broken(f"{PAGE}:{number}: what does {' '.join(unknown)} mean?")
            blocks.append(last)
        elif language == "text" and words != ["example"]:
            if last is None or last.says:
                raise Broken(f"{PAGE}:{number}: which command prints this?")
            last.says = lines
        elif language not in ("text", "c"):
            raise Broken(f"{PAGE}:{number}: a block is sh, text or c, not \"{language}\"")
    return {heading: blocks for heading, blocks in found.items() if blocks}


# ---- Comparing ------------------------------------------------------------------------------------------------------

def plain(line):
    """Without its figures: they hang on the compiler, the host and every change of the kernel."""
    return " ".join(FIGURE.sub("#", NOTHING.sub(r"no \1", line)).split())


def unsaid(says, lines):
    """The first of them that is not among the lines, in order; None: all are."""
    have, at = [plain(line) for line in lines], 0
    for said in says:
        if not plain(said).strip("… "):
            continue
        pattern = re.compile(".*?".join(map(re.escape, plain(said).split("…"))))
        at = next((n for n in range(at, len(have)) if pattern.fullmatch(have[n])), None)
        if at is None:
            return said
        at += 1
    return None


# ---- Running --------------------------------------------------------------------------------------------------------

class Shared:
    copy, failed = None, ""


def try_block(block):
    status, lines = Shared.copy.run("bash", "-euo", "pipefail", "-c", block.text)
    if SHOW:
        print("\n".join(["#", f"# ---- {PAGE}:{block.line}", *("# $ " + line for line in block.text.splitlines()),
                         *("# " + line for line in lines), f"# ---- status {status}"]), flush=True)
    if status != block.status():
        return [f"{PAGE}:{block.line}: status {status}, not {block.status()}: {block.text}", *lines[-30:]]
    said = unsaid(block.says, lines)
    return [f"{PAGE}:{block.line}: nothing printed is \"{said}\":", *lines[-60:]] if said is not None else []


def test_of(heading, blocks):
    def follow():
        if Shared.failed:
            return [f"not tried: the step before it has failed: {Shared.failed}"]
        for block in filter(Block.runs, blocks):
            if problems := try_block(block):
                Shared.failed = heading
                return problems
        return []

    follow.__name__ = re.sub(r"\W+", "_", heading.lower()).strip("_")
    return follow


@suite.test
def what_is_not_printed_is_found():
    page = "\n".join(["## 1. A", "```sh slow status=2", "false", "```", "```text", "a … 17 c", "…", "2 passed, 0 failed", "```"])
    block = steps(page)["1. A"][0]
    right = ["x", "a b 18 c", "y", "3 passed, 0 failed"]
    wrong = [lines for lines in (right[1:2], right[3:] + right[:3], ["a b 18", *right[2:]], [*right[:3], "3 passed, 1 failed"])
             if unsaid(block.says, lines) is None]
    if unsaid(block.says, right) is not None or block.status() != 2 or block.words != ["slow", "status=2"]:
        wrong.append(block)
    return [f"taken for what the page says: {lines}" for lines in wrong]


def done_already():
    raise machine.Lacking(matrix.TUTORIAL_DONE)


def main():
    if os.path.exists(POLICY):
        suite.test(done_already)
        return selftest.main(suite)
    with open(PAGE, encoding="utf-8") as f:
        found = steps(f.read())
    for heading, blocks in found.items():
        if any(map(Block.runs, blocks)):
            suite.test(test_of(heading, blocks))
    with tempfile.TemporaryDirectory(prefix="quiesce-tutorial-") as folder:
        Shared.copy = copied.Copy(folder, OBJECTS, BUDGET)
        for words in (("init", "-q"), ("add", "-A"), ("commit", "-q", "-m", "A copy")):  # the kernel tells its commit
            Shared.copy.run("git", "-c", "user.name=tutorial", "-c", "user.email=tutorial@localhost", *words)
        return selftest.main(suite)


if __name__ == "__main__":
    sys.exit(main())
