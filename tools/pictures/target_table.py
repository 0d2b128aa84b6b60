# SPDX-License-Identifier: MIT
"""The project's speed targets (tools/targets.py), each beside what was measured."""
from html import escape

import targets
from pictures import words
from pictures.section import Section

NAME, TITLE = "targets", "Speed targets"
MARKS = {"met": ("✓", "good"), "MISSED": ("✗", "bad")}


def family(target):
    """What targets of all policies have in common: (name, description); the rest of its name."""
    name, _, which = target.name.partition("/")
    return (name, target.what.removesuffix(f", {which}")), which if target.what.endswith(f", {which}") else ""


def chip(target, which):
    """One figure with its verdict: a sign, a word and a colour."""
    mark, kind = MARKS.get(target.verdict(), ("–", "open"))
    value = targets.number(target.value, target.unit)
    interval = ""
    if target.low is not None:
        ends = (targets.number(end, target.unit) for end in (target.low, target.high))
        interval = f' <span class="note">[{", ".join(ends)}]</span>'
    why = f' <span class="note">({escape(target.why)})</span>' if target.why else ""
    return (f'<li><span class="{kind}"><span class="mark">{mark}</span> {escape(which)} <b>{value}</b> '
            f"{escape(target.verdict().lower())}</span>{interval}{why}</li>")


def limit_of(target):
    if target.limit is None:
        return ""
    return f"{'at least' if target.at_least else 'at most'} {target.limit:,} {target.unit}"


def table(some):
    """A row for each thing that is asked, with the policies side by side."""
    families = {}
    for target in some:
        key, which = family(target)
        families.setdefault(key + (limit_of(target),), []).append(chip(target, which))
    rows = "".join(f'<tr><th scope="row">{escape(what)}<span class="note">{escape(limit)}</span></th>'
                   f'<td><ul class="chips">{"".join(chips)}</ul></td></tr>'
                   for (_, what, limit), chips in families.items())
    return f'<table class="targets"><tbody>{rows}</tbody></table>'


def say(asked, cpus):
    judged = [t for t in asked if t.met is not None]
    missed = [t for t in judged if not t.met]
    met = len(judged) - len(missed)
    said = (f"With {words.plural(cpus, 'CPU')}, {met} of {words.plural(len(judged), 'judged target')} "
            f"{'is' if met == 1 else 'are'} met")
    if missed:
        def excess(t):
            return t.limit / t.value if t.at_least else t.value / t.limit
        worst = max(missed, key=excess)
        said += (f"; furthest off: {worst.what}, {targets.number(worst.value, worst.unit)} where "
                 f"{'at least' if worst.at_least else 'at most'} {worst.limit:,} is asked")
    if blind := len(asked) - len(judged):
        said += f"; {blind} could not be judged from these runs"
    return said + "."


def section(data):
    found = [t for t in targets.judge([run for run in data.runs if run.bench])]
    counts = sorted({t.cpus for t in found if t.value is not None})
    command = f"make bench SMP={targets.CPUS}"
    if not counts:
        return Section(NAME, TITLE, gap="Not shown: nothing that a target asks for was measured. This measures it:",
                       command=command)
    main = targets.CPUS if targets.CPUS in counts else data.cpus if data.cpus in counts else counts[0]
    here = [t for t in found if t.cpus == main]
    asked = [t for t in here if t.limit is not None or t.value is None]
    parts = [table(asked)]
    if reported := [t for t in here if t not in asked]:
        parts.append(f"<details><summary>Measured, with no limit</summary>{table(reported)}</details>")
    for cpus in [n for n in counts if n != main]:
        some = [t for t in found if t.cpus == cpus]
        parts.append(f"<details><summary>With {words.plural(cpus, 'CPU')}</summary>{table(some)}</details>")
    return Section(NAME, TITLE, say(asked, main), command, table="".join(parts),
                   note="Each is computed within one boot of the release build; in brackets its 95 % interval.")
