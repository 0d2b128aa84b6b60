# SPDX-License-Identifier: MIT
"""CONTRIBUTING.md is followed to the letter: its recipes' blocks are taken out of the page and applied to a copy of the tree, the
commands are run there, and each line that a recipe promises must come, in its order. Reported as KTAP, a test for each
recipe. All blocks are applied first, so that everything is built once; with the argument "apart" each when its turn comes.
Other arguments: patterns of recipes, as "a_test". The objects come along, so that only what is new is compiled. No time is
judged."""
import dataclasses
import fnmatch
import pathlib
import re
import sys
import tempfile

from selftests import copied, selftest

PAGE = "CONTRIBUTING.md"
OBJECTS = ("check", "release", "host", "version.c", "font.c")  # of build/
BUDGET = 900
OF_FILE = re.compile(r"(?is)\b(new file|change)\b(?: it:)?\s+`([^`]+)`:\s*$")

LANGUAGES = {"c", "diff", "sh", "text"}


@dataclasses.dataclass
class Block:
    language: str
    text: str
    path: str = ""  # of a file: which


def recipes():
    """{title: blocks}, of the sections that have any."""
    text = pathlib.Path(PAGE).read_text(encoding="utf-8").partition("\n## Recipes\n")[2]
    found = {}
    if unknown := set(re.findall(r"(?m)^```(.*)$", text)[::2]) - LANGUAGES:
        raise ValueError(f"{PAGE}: a block is {', '.join(sorted(LANGUAGES))}, not \"{unknown.pop()}\"")
    for section in text.split("\n### ")[1:]:
        title, _, body = section.partition("\n")
        blocks, path, end = [], "", 0
        for match in re.finditer(r"(?ms)^```(\w+)\n(.*?)^```$", body):
            if named := OF_FILE.search(body[end:match.start()]):
                path = named[2]
            end = match.end()
            blocks.append(Block(match[1], match[2], path if match[1] not in ("sh", "text") else ""))
        if blocks:
            found[title] = blocks
    return found


# ---- Applying -------------------------------------------------------------------------------------------------------

def changed(text, diff, path):
    """A file's text with the block's lines added and removed; what stands there must be there, once."""
    lines = [line or " " for line in diff.splitlines()]
    if wrong := [line for line in lines if line[0] not in " +-"]:
        raise ValueError(f"{path}: neither added, removed nor there: {wrong}")
    old, new = ("".join(f"{line[1:]}\n" for line in lines if line[0] != but) for but in "+-")
    if (times := len(re.findall(f"(?={re.escape(f'{chr(10)}{old}')})", f"\n{text}"))) != 1:
        raise ValueError(f"{path} has {times} times:\n{old}")
    return f"\n{text}".replace(f"\n{old}", f"\n{new}")[1:]


def apply(block, folder):
    path = pathlib.Path(folder, block.path)
    if block.language == "diff":
        path.write_text(changed(path.read_text(encoding="utf-8"), block.text, block.path), encoding="utf-8")
    elif path.exists():
        raise ValueError(f"{block.path} is there already")
    else:
        path.write_text(block.text, encoding="utf-8")


# ---- Following ------------------------------------------------------------------------------------------------------

def missing(promised, said):
    """Lines that were promised and did not come, in this order."""
    rest = iter(said)
    for line in promised:
        pattern = re.compile(".*".join(map(re.escape, line.split("…"))))
        if not any(pattern.fullmatch(each) for each in rest):
            yield line


class Recipe:
    """A test: what is wrong with following it."""

    def __init__(self, title, blocks, tree, apart):
        self.__name__, self.blocks, self.tree, self.apart = re.sub(r"\W+", "_", title.lower()), blocks, tree, apart

    def run(self, line):
        status, lines = self.tree.run("sh", "-c", line)
        print("\n".join(f"# {line}" for line in [f"$ {line}", *lines[-400:]]))
        return status, lines

    def __call__(self):
        wrong, said, failed = [], [], []
        for block in self.blocks:
            if block.path and self.apart:
                apply(block, self.tree.folder)
            elif block.language == "sh":
                said, failed = [], []
                for line in block.text.splitlines():
                    status, lines = self.run(line)
                    said += lines
                    failed += [f"{line}: status {status}"] if status else []
                wrong += failed
            elif block.language == "text":
                promised = block.text.splitlines()
                if any("ended with status" in line for line in promised):  # it must fail
                    wrong = [line for line in wrong if line not in failed] or ([] if failed else ["it did not fail"])
                wrong += [f"promised, but not said: {line}" for line in list(missing(promised, said))[:1]]
        return wrong + said[-15:] if wrong else []


# ---- Of the page alone ----------------------------------------------------------------------------------------------

page = selftest.Suite("contributing-page")


@page.test
def every_recipe_has_a_file_a_command_and_a_promise():
    wrong = []
    for title, blocks in recipes().items():
        languages = {block.language for block in blocks}
        wrong += [f"{title}: no block of {what}" for what, some in (("a file", {"c", "diff"}), ("commands: sh", {"sh"}),
                                                                    ("what they say: text", {"text"})) if not some & languages]
        wrong += [f"{title}: a block of {name}" for name in languages - {"c", "diff", "sh", "text"}]
        wrong += [f"{title}: a block of no file:\n{b.text}" for b in blocks if b.language in ("c", "diff") and not b.path]
    return wrong or ([] if len(recipes()) > 6 else [f"only {', '.join(recipes())}"])


@page.test
def what_does_not_fit_is_noticed():
    text, wrong = "one\ntwo\ntwo\nthree\n", []
    if changed(text, " one\n+one and a half\n-two\n two\n", "f") != "one\none and a half\ntwo\nthree\n":
        wrong.append("one line more and one less")
    for diff in (" four\n+five\n", " two\n+x\n", "one\n", " on\n+x\n"):
        try:
            wrong.append(f"{diff!r} gives {changed(text, diff, 'f')!r}")
        except ValueError:
            pass
    said = ["a", "b 1 c", "d"]
    for promised, lacks in ((["a", "b … c"], []), (["b … c", "a"], ["a"]), (["b"], ["b"]), (["a", "d", "…"], ["…"])):
        if list(missing(promised, said))[:1] != lacks:
            wrong.append(f"{promised}: {list(missing(promised, said))}")
    return wrong


@page.test
def every_block_fits():
    """The tree, as those before it have left it."""
    with tempfile.TemporaryDirectory(prefix="quiesce-contributing-") as folder:
        copied.Copy(folder, (), BUDGET)
        for title, blocks in recipes().items():
            for block in blocks:
                if block.path:
                    try:
                        apply(block, folder)
                    except (ValueError, OSError) as error:
                        return [f"{title}: {error}"]
    return []


def main():
    apart, patterns = "apart" in sys.argv, [word for word in sys.argv[1:] if word != "apart"] or ["*"]
    if status := selftest.main(page) if every_block_fits() else 0:
        return status
    with tempfile.TemporaryDirectory(prefix="quiesce-contributing-") as folder:
        suite = selftest.Suite("contributing")
        tree = copied.Copy(folder, OBJECTS, BUDGET)
        for title, blocks in recipes().items():
            recipe = Recipe(title, blocks, tree, apart)
            if any(fnmatch.fnmatch(recipe.__name__, pattern) for pattern in patterns):
                suite.test(recipe)
            for block in blocks if not apart else ():
                if block.path:
                    apply(block, folder)
        if not suite.tests:
            sys.exit(f"contributing: no recipe is called {' or '.join(patterns)}")
        return selftest.main(page, suite)


if __name__ == "__main__":
    sys.exit(main())
