#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make findings: write docs/findings.md and its figures in docs/img/ from tools/findings_template.md and the
measurements in docs/data/report.gz and docs/data/hypervisors.gz. RESULTS="files" and HYPERVISORS="files" first put what
these have measured in the place of the one file and of the other.

The template is Markdown with one sentence a line; paragraphs and items of lists are filled. An expression in braces,
over facts.py and hypervisors.py, is replaced by its value. A line that begins with "@ " is a condition: what the text
beside it claims of the data in words. If one does not hold, nothing is written. What stands between "@if " with an
expression and "@end" is left out where that is false: what older runs have not measured, and what depends on the data.
No figure is written out: literals() finds those."""
import gzip
import hashlib
import json
import os
import re
import shlex
import sys
import textwrap

import facts
import hypervisors
import mishap
import results
from pictures import article
from pictures.data import Data
from progress import say

TEMPLATE, PAGE, IMAGES = "tools/findings_template.md", "docs/findings.md", "docs/img"
DATA, HYPERVISORS = "docs/data/report.gz", "docs/data/hypervisors.gz"
COLUMNS = 120


class Wrong(ValueError):
    """Something in the template, or no longer as the template says; the text says where."""


def serialised(runs):
    """The bytes of a result file with all that is in these runs."""
    lines = []
    for run in runs:
        lines.append({"kind": "HEADER"} | run.header)
        lines += [{"kind": kind} | item for kind, (name, _) in results.KINDS.items() for item in getattr(run, name)]
    return "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines).encode()


# ---- The template ---------------------------------------------------------------------------------------------------

EXPRESSION = re.compile(r"\{([^{}\n]+)\}")
NUMBER_WORD = re.compile(r"\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozens?|hundreds?|millions?|"
                         r"thousands?|half|third|quarter|twice|thrice|double[ds]?|triple[ds]?|per ?cent)\b|%", re.I)
# What has digits and is no figure: a version of Linux, a year, a name (L1, x86), the number of a heading or of an item.
NO_FIGURE = re.compile(r"\bLinux \d+(?:\.\d+)+|\b(?:19|20)\d\d\b|\b[A-Za-z][\w-]*|^#* *\d+\. ")
# Comments, expressions, code and conditions, the targets of links.
NO_PROSE = re.compile(r"<!--[^>]*-->|\{[^{}\n]+\}|^(?: {4}|@(?:if|end)?(?: |$)).*$|\]\([^)\n]*\)", re.M)
CODE = re.compile(r"`([^`\n]*)`")
BUILTINS = {f.__name__: f for f in (abs, all, any, len, max, min, range, set, sum)}


def bare_numbers(code):
    """Code may have digits in its words, but no word that is a number, unless it is a commit."""
    return " ".join(re.findall(r"(?<!\S)(?!\d{12}(?!\S))[\d.,]+(?!\S)", code))


def literals(template):
    """Figures that are written out, in digits or words: (number of the line, what)."""
    text = NO_PROSE.sub(lambda m: "\n" * m[0].count("\n"), template)
    text = CODE.sub(lambda m: bare_numbers(m[1]), text)
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        found += [(number, m[0]) for m in NUMBER_WORD.finditer(line)]
        found += [(number, m[0]) for m in re.finditer(r"\S*\d\S*", NO_FIGURE.sub("", line))]
    return found


class Page:
    """The template's text over one set of data and the runs under hypervisors."""

    def __init__(self, data, asked):
        self.facts, self.names = facts.namespace(facts.Facts(data), hypervisors.Asked(asked))

    def value(self, expression, number):
        try:
            code = compile(expression, TEMPLATE, "eval")
            if not self.facts.intersection(re.findall(r"\w+", expression)):
                raise ValueError("no fact in it")
            return eval(code, {"__builtins__": BUILTINS} | self.names)
        except mishap.ANY as error:
            raise Wrong(f"{TEMPLATE}:{number}: {{{expression}}}: {error}") from None

    def written(self, expression, number):
        value = self.value(expression, number)
        return value if isinstance(value, str) else facts.big(value)

    def parts(self, template):
        """(number, line) of all that is not left out."""
        since, shown = 0, True
        for number, line in enumerate(template.split("\n"), 1):
            if line.startswith("@if ") and not since:
                since, shown = number, bool(self.value(line[4:], number))
            elif line == "@end" and since:
                since, shown = 0, True
            elif line.startswith("@if ") or line == "@end":
                raise Wrong(f"{TEMPLATE}:{number}: {line} within @if, or @end without one")
            elif shown:
                yield number, line
        if since:
            raise Wrong(f"{TEMPLATE}:{since}: @if without @end")

    def lines(self, template):
        for number, line in self.parts(template):
            if line.startswith("@ "):
                if not self.value(line[2:], number):
                    raise Wrong(f"{TEMPLATE}:{number}: this does not hold of the data: {line[2:]}")
            elif "SPDX-License-Identifier" not in line:
                yield from EXPRESSION.sub(lambda m: self.written(m[1], number), line).split("\n")


def filled(block):
    """A paragraph or an item of a list, as lines of at most COLUMNS."""
    mark = re.match(r"(?:[-*] |\d+\. )?", block[0])[0]
    lines = textwrap.wrap(" ".join(line.strip() for line in block), COLUMNS, subsequent_indent=" " * len(mark),
                          break_long_words=False, break_on_hyphens=False)
    if bad := [line for line in lines[1:] if re.match(r"\s*(?:[-*+] |[#>|]|\d+[.)] )", line)]:
        raise Wrong(f"a filled line begins like an item or a heading: {bad[0]}")
    return lines


def blocks(lines):
    """What is filled as a whole: paragraphs and items. All else is a line that stays as it is; so is HTML, up to the
    next empty line."""
    block, html = [], False
    for line in lines:
        html = bool(line) and (html or line.startswith("<"))
        stays = html or re.match(r"$|#|\|| {4}", line)
        if block and (stays or re.match(r"[-*] |\d+\. ", line)):
            yield block
            block = []
        if stays:
            yield line
        else:
            block.append(line)
    if block:
        yield block


def digest(runs):
    return hashlib.sha256(serialised(runs)).hexdigest()


def rendered(template, data, asked):
    """The page's text."""
    if found := literals(template):
        raise Wrong("\n".join(f"{TEMPLATE}:{number}: a figure is written out: {what}" for number, what in found))
    out = [f"<!-- Written by make findings from {TEMPLATE}, and {DATA} and {HYPERVISORS},",
           f"unpacked SHA-256: {digest(data.runs)}", f"{digest(asked)} -->"]
    for block in blocks(Page(data, asked).lines(template)):
        out += [block] if isinstance(block, str) else filled(block)
    return "\n".join(out).strip() + "\n"


def files(data, template, asked):
    """{path: text} of all that is written."""
    return {PAGE: rendered(template, data, asked)} | {f"{IMAGES}/{name}": text for name, text in article.files(data).items()}


def chosen(variable, path):
    """(the runs of the files that this variable names, or of `path`; {path: bytes} to write where it names any)"""
    names = shlex.split(os.environ.get(variable) or "")
    runs = results.load(names or [path])
    if path == HYPERVISORS:
        runs = hypervisors.kept(runs)
    return runs, {path: gzip.compress(serialised(runs), mtime=0)} if names else {}


def main():
    try:
        (runs, packed), (asked, more) = chosen("RESULTS", DATA), chosen("HYPERVISORS", HYPERVISORS)
        with open(TEMPLATE, encoding="utf-8") as f:
            found = packed | more | {path: text.encode() for path, text in files(Data(runs), f.read(), asked).items()}
        for path, content in found.items():
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as f:
                f.write(content)
    except (Wrong, results.Broken) as error:
        say(f"findings: {error}")
        return 1
    say(f"findings: {', '.join(found)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
