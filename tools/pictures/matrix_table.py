# SPDX-License-Identifier: MIT
"""The first thing on the page: which policy is safe with which flush back-end, and what each costs."""
from html import escape

import stats
from pictures import style, words
from pictures.data import exactly

# Words, a sign, and a class for the colour: none of them alone.
SIGNS = {("safe", "clean"): ("✓", "safe", "clean", "good"), ("unsafe", "violated"): ("✗", "unsafe", "violated", "bad")}


def sign(data, policy, flush):
    """(sign, claim, what was found, class) of a pair."""
    verdict = data.verdicts.get((policy, flush))
    if not verdict:
        return "–", "not judged", "", "open"
    claimed, found = verdict["claimed"], verdict["found"]
    if found == "inconclusive":
        return "?", claimed, "inconclusive", "open"
    return SIGNS.get((claimed, found), ("‼", claimed, f"but {found}", "wrong"))


class Costs:
    """What a pair costs, each figure as text, with a star where few samples stand for it."""

    def __init__(self, data):
        self.data = data
        self.most = data.most_others("unmap_page")
        self.longest = max((i["stolen_us"] for i in data.select("unmap_stolen")), default=0)
        self.whole = bool(data.select("unmap_longest", stolen_us=self.longest))  # else only the first unmap is timed
        self.few = False  # has any been marked?

    def columns(self):
        yield "alone", f"unmap of a page with its tables, nobody else in the space: {self.data.unit}, median"
        if self.most:
            yield "shared", f"the same with {words.plural(self.most, 'other CPU')} in the space"
        yield "held", "the most table pages that wait to be freed while one CPU unmaps as fast as it can, median"
        if self.longest:
            which = "the longest unmap, in the median," if self.whole else "the longest that the first unmap took"
            preempted = words.time(self.longest * 1000)
            yield "worst", f"{which} while another CPU was preempted for {preempted}"

    def of(self, policy, flush):
        pair = {"table_free": policy, "tlb_flush": flush}
        stolen = self.data.one("unmap_longest" if self.whole else "unmap_stolen", stolen_us=self.longest, **pair)
        held = self.data.select("pages_held", stolen_us=0, **pair)
        found = {"alone": self.data.one("unmap_page", others=0, **pair),
                 "shared": self.data.one("unmap_page", others=self.most, **pair),
                 "held": min(held, key=lambda i: i.get("others") or 0, default=None),
                 "worst": stolen if self.longest else None}
        return {name: self.text(name, found[name]) for name, _ in self.columns()}

    def walk(self, policy):
        return self.text("walk", self.data.one("walk", table_free=policy, walkers=0, remote=0))

    def reuse(self, policy):
        some = self.data.select("table_wait", table_free=policy)
        return self.text("reuse", max(some, key=lambda i: i["walkers"], default=None))

    def of_policy(self, policy):
        """What hangs on the policy alone, as cells."""
        return "".join(f'<td class="number">{text}</td>' for text in (self.walk(policy), self.reuse(policy)))

    def text(self, name, item):
        if not item:
            return "–"
        self.few |= stats.few(item)
        number = item["max" if name == "worst" and not self.whole else "median"]
        return (words.time if name == "worst" else words.count)(number) + ("*" if stats.few(item) else "")


def heads(data, before=""):
    return "".join(f'<th scope="col">{before}{escape(flush)}</th>' for flush in data.backends)


def verdict_html(data, policy, flush):
    mark, claim, found, kind = sign(data, policy, flush)
    return (f'<span class="verdict {kind}"><span class="mark">{mark}</span> {escape(claim)}'
            + (f'<span class="found">, {escape(found)}</span>' if found else "") + "</span>")


def instructions(data, policy):
    """Of a walk, and of an unmap of a page with its tables: (name, text)."""
    for name, bench in (("walk", "walk"), ("alone", "unmap_page")):
        yield name, exactly(data.instructions(bench, table_free=policy, tlb_flush=data.flush))


def combined(data, costs):
    """For a wide screen: all in one table."""
    rows = []
    for policy in data.policies:
        cells = []
        for flush in data.backends:
            figures = costs.of(policy, flush)
            text = " ".join(f'<span class="figure"><i>{name}</i> {value}</span>' for name, value in figures.items())
            if all(value == "–" for value in figures.values()):
                text = '<span class="figure"><i>not timed</i></span>'
            cells.append(f"<td>{verdict_html(data, policy, flush)}<span class=figures>{text}</span></td>")
        if data.counted:
            text = "".join(f'<span class="figure"><i>{name}</i> {count}</span>' for name, count
                           in instructions(data, policy))
            cells.insert(0, f'<td><span class="figures exact">{text}</span></td>')
        rows.append(f'<tr><th scope="row">{escape(style.called(policy))}</th>{costs.of_policy(policy)}'
                    + "".join(cells) + "</tr>")
    exact = '<th scope="col">instructions</th>' if data.counted else ""
    return ('<table class="matrix on-wide"><thead><tr><th scope="col">policy</th>'
            '<th scope="col" class="number">walk</th><th scope="col" class="number">reuse</th>'
            f'{exact}{heads(data, "flush by ")}</tr></thead>'
            f'<tbody>{"".join(rows)}</tbody></table>')


def verdicts_only(data):
    """For a phone: the verdicts, then the costs by back-end."""
    rows = [f'<tr><th scope="row">{escape(style.called(policy))}</th>'
            + "".join(f"<td>{verdict_html(data, policy, flush)}</td>" for flush in data.backends) + "</tr>"
            for policy in data.policies]
    return (f'<table class="matrix on-narrow"><thead><tr><th scope="col">policy</th>{heads(data)}</tr></thead>'
            f"<tbody>{''.join(rows)}</tbody></table>")


def costs_of_backend(data, costs, flush):
    names = [name for name, _ in costs.columns()]
    rows = []
    for policy in data.policies:
        figures = costs.of(policy, flush)
        if any(value != "–" for value in figures.values()):
            cells = "".join(f'<td class="number">{figures[name]}</td>' for name in names)
            rows.append(f'<tr><th scope="row">{escape(style.called(policy))}</th>'
                        f"{cells}</tr>")
    if not rows:
        return ""
    head = "".join(f'<th scope="col" class="number">{name}</th>' for name in names)
    return (f'<table class="costs on-narrow"><caption>Costs, flush by {escape(flush)}</caption><thead><tr>'
            f'<th scope="col">policy</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>')


def by_policy(data, costs):
    """For a phone: what hangs on the policy alone."""
    rows = [f'<tr><th scope="row">{escape(style.called(policy))}</th>{costs.of_policy(policy)}</tr>'
            for policy in data.policies]
    return ('<table class="costs on-narrow"><caption>Costs, whatever the flush</caption><thead><tr><th scope="col">policy'
            '</th><th scope="col" class="number">walk</th><th scope="col" class="number">reuse</th></tr></thead>'
            f"<tbody>{''.join(rows)}</tbody></table>")


def counts_only(data):
    """For a phone: the instructions, which hang on the policy alone."""
    rows = [f'<tr><th scope="row">{escape(style.called(policy))}</th>'
            + "".join(f'<td class="number">{count}</td>' for _, count in instructions(data, policy)) + "</tr>"
            for policy in data.policies] if data.counted else []
    return ('<table class="costs on-narrow"><caption>Instructions at one CPU, exact</caption><thead><tr><th scope="col">'
            'policy</th><th scope="col" class="number">walk</th><th scope="col" class="number">alone</th></tr></thead>'
            f"<tbody>{''.join(rows)}</tbody></table>") if rows else ""


def key(costs):
    """What the short words in the cells stand for."""
    words_of = [("walk", f"a lockless walk of one page, its put excluded: {costs.data.unit}, median"),
                ("reuse", f"the wait before a table is reused, while all other CPUs walk: {costs.data.unit}, median"),
                *costs.columns()]
    if costs.data.counted:
        words_of.append(("instructions", "of walk and alone, counted exactly at one CPU"))
    if costs.few:
        words_of.append(("*", f"of fewer than {stats.FEW} samples"))
    items = "".join(f"<li><b>{name}</b> {escape(text)}</li>" for name, text in words_of)
    return f'<ul class="key">{items}</ul>'


def tables(data, costs):
    return combined(data, costs), by_policy(data, costs) + "".join(costs_of_backend(data, costs, flush) for flush in data.backends)


def html(data):
    costs = Costs(data)
    wide, narrow = tables(data, costs)
    parts = [wide, verdicts_only(data), counts_only(data), narrow, key(costs)]
    for cpus in data.cpu_counts("unmap_page"):
        if cpus != data.cpus:
            costs = Costs(data.at(cpus))
            parts.append(f"<details><summary>The same with {words.plural(cpus, 'CPU')}</summary>"
                         f"{''.join(tables(costs.data, costs))}{key(costs)}</details>")
    return "".join(parts)


def phrase(pairs, data, what):
    """Which policies these pairs are, as a sentence: with every back-end, then with some."""
    whole = [p for p in data.policies if all((p, f) in pairs for f in data.backends)]
    some = {p: [f for f in data.backends if (p, f) in pairs] for p in data.policies if p not in whole}
    parts = [f"with every flush back-end: {words.listed(whole)}"] if whole else []
    parts += [f"with the {words.listed(flushes)} back-end{'s' if len(flushes) > 1 else ''} only: {policy}"
              for policy, flushes in some.items() if flushes]
    return f"{what} {'; '.join(parts)}." if parts else ""


def sentence(data):
    """Who is safe."""
    if not data.verdicts:
        return ("No run here has judged safety: the times below come without verdicts (these come from the checking "
                "build: make run).")
    pairs = {kind: [pair for pair in data.verdicts if sign(data, *pair)[3] == kind]
             for kind in ("good", "bad", "open", "wrong")}
    return " ".join(filter(None, (
        phrase(pairs["good"], data, "Safe, and found clean,"),
        phrase(pairs["bad"], data, "Unsafe, and caught freeing tables under walkers,"),
        phrase(pairs["open"], data, "Inconclusive"),
        phrase(pairs["wrong"], data, "Found otherwise than claimed"))))
