# SPDX-License-Identifier: MIT
"""The figures of docs/findings.md, one for each of its claims: light and dark, from what runs have measured. A figure
whose data is not there is not drawn."""
import math

import axes
from diagrams.drawing import THEMES
from pictures import words
from pictures.data import exactly
from pictures.matrix_table import sign
from pictures.plot import AXIS, DIGIT, TITLE, WIDTH, Panel, Plot, linear, log

UNSAFE = ("immediate",)  # the unsafe control: no policy that anybody would choose
BATCH = 512
NAMES = 104    # pixels for the name of a policy
ROW, THICK = 24, 15


# ---- 1: which pairs are safe ----------------------------------------------------------------------------------------

CELLS, CELL = 308, 72
COLORS = {"good": "green", "bad": "red", "open": "grey", "wrong": "red"}
TEXTS = {"good": "safe", "bad": "caught", "open": "open", "wrong": "WRONG"}


def how_it_waits(policy):
    """(interrupts during its walks, what it waits for) as the sources say."""
    fields = axes.policies()[policy].fields if policy in axes.policies() else {}
    return ({"WALKER_IRQS_OFF": "off", "WALKER_PREEMPT_OFF": "on"}.get(fields.get("walker"), "?"),
            {"WAIT_OWN": "walks", "WAIT_REST": "both", "WAIT_FLUSH": "flush"}.get(fields.get("waits"), "?"))


def implies(flush):
    fields = axes.backends()[flush].fields if flush in axes.backends() else {}
    return {"true": "yes", "false": "no"}.get(fields.get("proves_irqs_off_walks_ended"), "?")


def verdicts(data):
    if not data.verdicts:
        return None
    top, step = 92, 32
    d = Plot("verdicts", max(WIDTH, CELLS + CELL * len(data.backends) + 4), top + step * len(data.policies) + 8,
             "Table: which policies are safe with which flush back-ends. A pair is safe if the policy waits for walks, "
             "or if walks run with interrupts off and completing the flush implies that these have ended. Each other "
             "pair was caught.")
    d.label(CELLS - 16, 20, "flush back-end", "muted", "end")
    d.label(CELLS - 16, 44, "when done, IRQs-off walks ended?", "muted", "end")
    for x, text in ((10, "policy"), (118, "IRQs in walks"), (236, "awaits")):
        d.label(x, 74, text, "muted")
    for n, flush in enumerate(data.backends):
        middle = CELLS + CELL * n + CELL / 2 - 2
        d.label(middle, 20, flush, anchor="middle", bold=True)
        d.label(middle, 44, implies(flush), "green" if implies(flush) == "yes" else "red", "middle")
    for row, policy in enumerate(data.policies):
        y, (irqs, waits) = top + step * row, how_it_waits(policy)
        d.label(10, y + 14, policy, bold=True)
        d.label(118, y + 14, irqs, "green" if irqs == "off" else "ink")
        d.label(236, y + 14, waits, "green" if waits == "walks" else "ink")
        for n, flush in enumerate(data.backends):
            kind = sign(data, policy, flush)[3]
            d.box(CELLS + CELL * n, y, CELL - 4, step - 4, TEXTS[kind], COLORS[kind], bold=kind != "good", size=15)
    return d


# ---- 2 and 3: bars by policy ----------------------------------------------------------------------------------------

COLOR = {"instructions": "green", "cycles": "orange"}


def safe(data):
    return [policy for policy in data.policies if policy not in UNSAFE]


def room(texts):
    return DIGIT * max(map(len, texts)) + 10


def panel_of_bars(d, place, title, rows, names):
    """`place`: left, top, width of it with the names."""
    left, top, width = place
    indent = NAMES if names else 8
    most = max(sum(value for value, _, _ in parts) for _, parts, _ in rows)
    space = width - indent - room(text for _, _, text in rows)
    panel = Panel(d, (left + indent, top + TITLE, space, ROW * len(rows)), linear(0, most))
    panel.title(title, left + (4 if names else 8))
    panel.bars(rows, THICK, names)


def walk_bars(data, name, pages, unit):
    """Rows of (policy, bar, text): what a walk takes for each page."""
    rows = []
    for policy in safe(data):
        if unit == "instructions":
            count, usual = data.instructions(name, table_free=policy, tlb_flush=data.flush)
            text = "" if count is None else exactly((count, usual)) if pages == 1 else f"{count / pages:.1f}"
        else:
            count = data.median(name, table_free=policy, walkers=0, remote=0)
            text = "" if count is None else words.count(round(count / pages))
        if count is not None:
            rows.append((policy, [(count / pages, COLOR[unit], False)], text))
    return rows


def walks(data):
    kinds = [(f"One page: {unit}", f"In batches of {BATCH}, each page", unit, walk_bars(data, "walk", 1, unit),
              walk_bars(data, f"walk_{BATCH}", BATCH, unit)) for unit in ("instructions", "cycles")]
    kinds = [kind for kind in kinds if kind[3] and kind[4]]
    if not kinds:
        return None
    part = TITLE + ROW * len(safe(data)) + 16
    d = Plot("walks", WIDTH, part * len(kinds) + 4,
             "Bars: what a walk costs by policy. Instructions and cycles of a walk of one page differ; those of each "
             "page of a batch hardly do.")
    for n, (one, many, _, left, right) in enumerate(kinds):
        panel_of_bars(d, (0, 4 + n * part, 330), one, left, True)
        panel_of_bars(d, (330, 4 + n * part, 264), many, right, False)
    return d


KEPT = "tables kept"


def unmap_counts(data):
    """Rows of (name, bar, text), the first for an unmap that keeps the tables: there the policy makes no difference."""
    cases = [(KEPT, "unmap_kept", policy, "blue") for policy in safe(data)[:1]]
    cases += [(policy, "unmap_page", policy, "green") for policy in safe(data)]
    rows = []
    for label, name, policy, color in cases:
        found = data.instructions(name, table_free=policy, tlb_flush=data.flush, pages=1)
        if found[0] is not None:
            rows.append((label, [(found[0], color, False)], exactly(found)))
    return rows


def unmap_times(data):
    """Alone, and what is added by another CPU in the space."""
    rows, others = [], data.most_others("unmap_page")
    cases = [(KEPT, "unmap_kept", policy) for policy in safe(data)[:1]]
    cases += [(policy, "unmap_page", policy) for policy in safe(data)]
    for label, name, policy in cases:
        pair = {"table_free": policy, "tlb_flush": data.flush, "pages": 1}
        alone, shared = data.median(name, others=0, **pair), data.median(name, others=others, **pair)
        if alone and shared and others:
            rows.append((label, [(alone, "orange", False), (max(0, shared - alone), "orange-fill", True)],
                         f"{words.count(alone)} / {words.count(shared)}"))
    return rows


def unmaps(data):
    counts, times = unmap_counts(data), unmap_times(data)
    if not counts or not times:
        return None
    part = TITLE + ROW * max(len(counts), len(times)) + 16
    d = Plot("unmaps", WIDTH, 2 * part + 4,
             "Bars: what an unmap costs by policy. It executes the fewest instructions where the tables are kept. With "
             "another CPU in the space the shootdown is most of its cycles.")
    panel_of_bars(d, (0, 4, WIDTH), "Instructions of an unmap, alone in the space", counts, True)
    title = f"Cycles: alone / with {words.plural(data.most_others('unmap_page'), 'other CPU')} (hatched: the shootdown)"
    panel_of_bars(d, (0, 4 + part, WIDTH), title, times, True)
    return d


# ---- 4: while a vCPU is preempted -----------------------------------------------------------------------------------

WAITS, LONGEST, HELD = "unmap_stolen", "unmap_longest", "pages_held"
IPI, RCU, HAZARD = ("ipi", "ipi"), ("rcu", "pv"), ("hazard", "pv")


def by_length(data, name, pair):
    """{how long the CPU is preempted, ms: the case}, without the case in which it is not."""
    return {i["stolen_us"] / 1000: i for i in sorted(data.select(name, table_free=pair[0], tlb_flush=pair[1]),
                                                     key=lambda i: i["stolen_us"]) if i["stolen_us"]}


def draw_curve(panel, cases, color, shape, key, to, scale=1.0):
    """A point for each case, and a thin bar to another of its figures."""
    points = [(panel.x(ms), panel.y(i[key] * scale)) for ms, i in cases.items()]
    for (x, y), i in zip(points, cases.values()):
        panel.plot.line([(x, y), (x, panel.y(i[to] * scale))], color, 1.5)
    panel.plot.curve(points, color)
    for x, y in points:
        panel.plot.dot(x, y, color, shape)


def at_the_bound(longest, held, bound):
    """The longest unmap, where at least every other sample has used up what may wait."""
    return {ms: i for ms, i in longest.items() if ms in held and held[ms]["median"] >= bound}


def preempted(data):
    waits = {pair: by_length(data, WAITS, pair) for pair in (IPI, RCU, HAZARD)}
    longest = by_length(data, LONGEST, RCU)
    held = {pair: by_length(data, HELD, pair) for pair in (IPI, RCU, HAZARD)}
    if not all([*waits.values(), longest, *held.values()]) or len(waits[RCU]) < 3:
        return None
    lengths = sorted(waits[RCU])
    bound = next(iter(held[RCU].values())).get("pending_max") or max(i["max"] for i in held[RCU].values())
    x = log(lengths[0] * 0.85, lengths[-1] * 1.25)
    left, width, high, low = 84, WIDTH - 84 - 16, 206, 132
    d = Plot("preempted", WIDTH, TITLE + high + TITLE + 20 + low + AXIS + 24,
             "Curves: wait and memory while another vCPU is preempted. With a flush by IPI the unmapper waits as long "
             "as the vCPU is away. With a paravirtual flush and RCU it does not wait, but page tables pile up; at the "
             "bound it waits after all. With hazard pointers neither happens.")
    wait = Panel(d, (left, TITLE, width, high), x, log(3e-4, 1e3))
    wait.title("How long the first unmap takes (dot: least; bar: median)", 4)
    wait.frame([(ms, "") for ms in lengths], [(10 ** n, words.time(10 ** (n + 6))) for n in range(-3, 4)])
    draw_curve(wait, waits[HAZARD], "blue", "diamond", "min", "median", 1e-6)
    draw_curve(wait, waits[RCU], "green", "square", "min", "median", 1e-6)
    draw_curve(wait, waits[IPI], "red", "circle", "min", "median", 1e-6)
    if late := at_the_bound(longest, held[RCU], bound):
        wait.plot.curve([(wait.x(ms), wait.y(i["median"] * 1e-6)) for ms, i in late.items()], "green", dash="5 4")
        for ms, i in late.items():
            d.dot(wait.x(ms), wait.y(i["median"] * 1e-6), "green", "square")
        below = wait.y(min(i["median"] for i in late.values()) * 1e-6)
        d.label(wait.x(lengths[-1]) + 4, below + 20, "rcu with pv, at the bound:", "green", "end", bold=True)
        d.label(wait.x(lengths[-1]) + 4, below + 39, "the longest unmap", "green", "end", bold=True)
    memory = Panel(d, (left, 2 * TITLE + 20 + high, width, low), x, linear(0, bound * 1.08))
    memory.title("How many page tables are held (dot: median; bar: least)", 4)
    memory.frame([(ms, f"{ms:g}") for ms in lengths], [(n, words.count(n)) for n in (0, bound // 2, bound)],
                 "ms for which another vCPU is preempted")
    for pair, color, shape in ((HAZARD, "blue", "diamond"), (IPI, "red", "circle"), (RCU, "green", "square")):
        draw_curve(memory, held[pair], color, shape, "median", "min")
    d.label(wait.x(lengths[0]) + 4, wait.y(110), "ipi with ipi", "red", bold=True)
    d.label(wait.x(lengths[0]) + 8, wait.y(0.085), "rcu with pv", "green", bold=True)
    d.label(wait.x(lengths[0]) + 8, wait.y(0.0009), "hazard with pv", "blue", bold=True)
    d.label(memory.x(lengths[0]) + 8, memory.y(bound) + 13, "the bound: pending_max=", "muted")
    d.label(memory.x(lengths[2]) + 40, memory.y(bound * 0.5), "rcu with pv", "green", "end", bold=True)
    d.label(memory.x(lengths[-1]) - 4, memory.y(bound * 0.13), "the other two: none", "muted", "end")
    return d


# ---- 5: bystanders --------------------------------------------------------------------------------------------------

def bystanders(data):
    """{back-end: [(interrupts an unmap, share of its time lost) of each policy]}, and the share while nobody unmaps."""
    items = [i for i in data.select("bystander") if i.get("lost_ppm") is not None and i.get("ipis") is not None]
    found = {b: [(i["ipis"] / i["ops"], i["lost_ppm"] / 1e4) for i in items if i["tlb_flush"] == b and i.get("ops")]
             for b in data.backends}
    quiet = [i["lost_ppm"] / 1e4 for i in items if i.get("tlb_flush") in ("-", None)]
    return {b: some for b, some in found.items() if some}, quiet[0] if quiet else 0


def bystander(data):
    found, quiet = bystanders(data)
    if not found:
        return None
    step = 34
    height = step * len(found)
    d = Plot("bystanders", WIDTH, TITLE + height + AXIS + 36,
             "Marks: what a bystander takes and loses by flush back-end. For each policy a mark says how many "
             "interrupts an unmap brings a CPU that only runs in the space, and which share of its time it loses. "
             "The marks of a back-end lie together.")
    most = max(max(n for n, _ in some) for some in found.values())
    left = Panel(d, (66, TITLE, 180, height), linear(-0.06, max(1, most) * 1.1))
    right = Panel(d, (292, TITLE, WIDTH - 292 - 30, height), linear(0, 100))
    left.title("Interrupts per unmap", 4)
    right.title("Share of its time lost")
    left.frame([(0, "0"), (0.5, "½"), (1, "1")])
    right.frame([(share, f"{share} %") for share in (0, 25, 50, 75, 100)])
    for n, (flush, some) in enumerate(found.items()):
        y = TITLE + (n + 0.5) * step
        d.label(58, y, flush, anchor="end", bold=True)
        for per_unmap, lost in some:
            d.dot(left.x(per_unmap), y, "blue", "tick")
            d.dot(right.x(lost), y, "blue", "tick")
    d.line([(right.x(quiet), TITLE), (right.x(quiet), TITLE + height)], "ink", 1.5, dashed=True)
    d.label(WIDTH - 6, TITLE + height + 42, "a mark is a policy; dashed: nobody unmaps", "muted", "end")
    return d


# ---- 7: the wait before a table is reused ---------------------------------------------------------------------------

def reuses(data):
    """{policy: (the case while nobody walks, that while all other CPUs do)}"""
    some = data.select("table_wait", tlb_flush=data.flush)
    most = max((i["walkers"] for i in some), default=0)
    by_case = {(i["table_free"], i["walkers"]): i for i in some}
    return {p: (by_case[p, 0], by_case[p, most]) for p in safe(data) if most and {(p, 0), (p, most)} <= set(by_case)}


def reuse(data):
    found = reuses(data)
    if not found:
        return None
    step, left = 36, 126
    ends = [i[key] for pair in found.values() for i in pair for key in ("min", "max")]
    low, high = max(1, min(ends)), max(ends)
    height = step * len(found)
    d = Plot("reuse", WIDTH, TITLE + height + AXIS + 48,
             "Marks: the wait before a table is reused, by policy, on a logarithmic scale. Two marks for each policy: "
             "while nobody walks, and while all other CPUs walk the space.")
    panel = Panel(d, (left, TITLE, WIDTH - left - 30, height), log(low / 1.3, high * 1.3))
    panel.title("Wait before a table is reused (mark: median; bar: least to 90 %)", 4)
    decades = range(math.ceil(math.log10(low / 1.3)), math.floor(math.log10(high * 1.3)) + 1)
    panel.frame([(10 ** n, words.tick(10 ** n)) for n in decades], x_title=f"{data.unit} (log scale)")
    for n, (policy, pair) in enumerate(found.items()):
        d.label(left - 8, TITLE + (n + 0.5) * step, policy, anchor="end", bold=policy in axes.floors())
        for item, color, shape, aside in zip(pair, ("blue", "orange"), ("circle", "diamond"), (-7, 7)):
            y = TITLE + (n + 0.5) * step + aside
            d.line([(panel.x(item["min"]), y), (panel.x(item.get("p90") or item["max"]), y)], color, 1.5)
            d.dot(panel.x(item["median"]), y, color, shape)
    bottom = TITLE + height + 54
    d.dot(left + 6, bottom, "blue")
    d.label(left + 16, bottom, "nobody walks", "muted")
    d.dot(left + 150, bottom, "orange", "diamond")
    d.label(left + 160, bottom, "all other CPUs walk the space", "muted")
    return d


FIGURES = (verdicts, walks, unmaps, preempted, bystander, reuse)


def files(data):
    """{name of a file: its text}, as far as the data goes."""
    drawings = [d for figure in FIGURES if (d := figure(data))]
    return {f"{d.name}{theme}.svg": d.svg(theme) for d in drawings for theme in THEMES}
