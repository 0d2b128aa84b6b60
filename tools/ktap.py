# SPDX-License-Identifier: MIT
"""A strict reader of KTAP version 1: a report that is truncated or contradicts itself counts as a failure."""
import dataclasses
import re

HEADER = re.compile(r"^(\s*)(?:K?TAP) version (\d+)\s*$")
PLAN = re.compile(r"^(\s*)1\.\.(\d+)\s*$")
RESULT = re.compile(r"^(\s*)(not ok|ok)\s+(\d+)\s*(?:-\s*)?([^#]*?)\s*(?:#\s*(\w+)\s*(.*))?$")
SUBTEST = re.compile(r"^\s*# Subtest: ")


@dataclasses.dataclass
class Report:
    passed: list = dataclasses.field(default_factory=list)   # names
    failed: list = dataclasses.field(default_factory=list)   # (name, diagnostics before the result)
    skipped: list = dataclasses.field(default_factory=list)  # (name, reason)
    errors: list = dataclasses.field(default_factory=list)   # what is wrong with the report itself
    running: str = ""                                        # begun, but without a result


@dataclasses.dataclass
class Document:
    indent: int
    plan: int = None
    results: int = 0
    children_failed: bool = False


def close(document, report, what):
    if document.plan is None:
        report.errors.append(f"{what}: no plan line")
    elif document.results != document.plan:
        report.errors.append(f"{what}: {document.results} results where the plan says {document.plan}")


class Reader:
    def __init__(self):
        self.report = Report()
        self.open = []        # documents, outermost first
        self.closed_child = None
        self.diagnostics = []
        self.documents = 0

    def line(self, text):
        if match := HEADER.match(text):
            self.close_down_to(len(match[1]))
            self.open.append(Document(len(match[1])))
            self.documents += 1
            if match[2] != "1":
                self.report.errors.append(f"KTAP version {match[2]}")
        elif match := PLAN.match(text):
            self.plan(len(match[1]), int(match[2]))
        elif (match := RESULT.match(text)) and self.open:
            self.result(len(match[1]), match[2] == "ok", int(match[3]), match[4], match[5] or "", match[6] or "")
        elif text.lstrip().startswith("# ") and not SUBTEST.match(text):
            if match := re.match(r"\s*# \[\d+/\d+\] (\S+)$", text):
                self.report.running, self.diagnostics = match[1], []
            self.diagnostics.append(text.strip())

    def plan(self, indent, count):
        if not self.open or self.open[-1].indent != indent:
            self.close_down_to(indent + 1)
        if not self.open or self.open[-1].indent != indent or self.open[-1].plan is not None:
            self.report.errors.append(f"a plan 1..{count} without a header of its own")
            return
        self.open[-1].plan = count

    def close_down_to(self, indent):
        """Close documents at `indent` or deeper."""
        while self.open and self.open[-1].indent >= indent:
            self.closed_child = self.open.pop()
            close(self.closed_child, self.report, f"document {self.documents}")

    def result(self, indent, ok, number, name, directive, rest):
        self.closed_child = None
        self.close_down_to(indent + 1)
        document = self.open[-1] if self.open else None
        if not document or document.indent != indent:
            self.report.errors.append(f"a result outside of any document: {name}")
            return
        document.results += 1
        if number != document.results:
            self.report.errors.append(f"result {number} ({name}) where {document.results} was due")
        if self.closed_child:  # a suite: its tests were counted one by one
            if not ok and not self.closed_child.children_failed:
                self.report.failed.append((name, self.diagnostics))
        elif directive.upper() == "SKIP":
            self.report.skipped.append((name, rest))
        elif ok:
            self.report.passed.append(name)
        else:
            self.report.failed.append((name, self.diagnostics))
        if not ok:
            for each in self.open:
                each.children_failed = True
        self.report.running, self.diagnostics = "", []

    def finish(self):
        self.close_down_to(0)
        if not self.documents:
            self.report.errors.append("no KTAP header")
        return self.report


def parse(lines):
    reader = Reader()
    for line in lines:
        reader.line(line)
    return reader.finish()
