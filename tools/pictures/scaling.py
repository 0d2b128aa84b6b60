# SPDX-License-Identifier: MIT
"""How throughput grows with the number of CPUs, and whether anything that is not shared is in the way."""
import stats
from pictures import style, words
from pictures.section import Section, missing

NAME, TITLE = "scaling", "Scaling from one CPU up"
# Of N CPUs: what is counted, as a title and in a sentence, and how many do it.
PANELS = {
    "scale_disjoint": ("Each in a space of its own", "unmaps of each in a space of its own", lambda n: n),
    "scale_shared": ("All in one space", "unmaps of all in one space", lambda n: n),
    "scale_walkers": ("One unmaps while the others walk", "unmaps of one while the others walk", lambda n: 1),
    "scale_walk": ("The walks beside that unmapper", "the walks beside it", lambda n: n - 1),
}


class Lines:
    """{policy: [(N, operations a second)]} of one benchmark, from the boot with the most CPUs."""

    def __init__(self, data, name):
        self.name, self.policies, self.few = name, {}, set()
        self.title, self.phrase, self.workers = PANELS[name]
        counts = {i["cpus"] for i in data.items if i["name"] == name and i.get("ops_per_sec")}
        self.cpus = max(counts, default=0)
        some = data.select(name, cpus=self.cpus)
        self.flush = next((b for b in data.backends if any(i["tlb_flush"] == b for i in some)), None)
        for policy in data.policies:
            of_pair = [i for i in some if (i["table_free"], i["tlb_flush"]) == (policy, self.flush)]
            rates = {(i.get("others") or 0) + 1: i["ops_per_sec"] for i in of_pair if i.get("ops_per_sec")}
            points = sorted(rates.items())
            self.few |= {(policy, (i.get("others") or 0) + 1) for i in of_pair if stats.few(i)}
            if len(points) > 1:
                self.policies[policy] = points

    def relative(self, policy):
        points = self.policies[policy]
        return [(n, rate / points[0][1]) for n, rate in points]

    def gains(self, n):
        return {p: dict(self.relative(p))[n] for p in self.policies if n in dict(self.relative(p))}


def draw(narrow, benches, host):
    legend = [style.handle(n) for n in style.in_order({p for b in benches for p in b.policies})]
    ideal = {"color": style.MUTED, "linewidth": 5, "alpha": 0.25}
    legend.append((style.lines.Line2D([], [], **ideal), "ideal"))
    if any(b.few for b in benches):
        legend.append(style.ring_handle())
    panels = style.Panels(narrow, [b.title for b in benches], (min(3, len(benches)), 1), 180 if narrow else 230, legend)
    for axes, b in zip(panels.axes, benches):
        top = max(gain for p in b.policies for _, gain in b.relative(p))
        counts = sorted({n for points in b.policies.values() for n, _ in points})
        axes.plot(counts, [b.workers(n) / b.workers(counts[0]) for n in counts], **ideal)
        for p in b.policies:
            style.data(axes.plot(*zip(*b.relative(p)), **style.look(p))[0])
            style.ring(axes, [at for at in b.relative(p) if (p, at[0]) in b.few])
        if host and counts[-1] > host:
            axes.axvspan(host + 0.5, counts[-1] + 0.5, color=style.GRID, alpha=0.5, linewidth=0)
        axes.set_xlim(counts[0] - 0.3, counts[-1] + 0.3)
        axes.set_ylim(0, max(top, 1.2) * 1.15)
        axes.set_xticks(counts if len(counts) <= 9 else counts[::len(counts) // 8 + 1])
        axes.yaxis.set_major_locator(style.ticker.MaxNLocator(5))
        axes.yaxis.set_major_formatter(lambda v, _: f"{v:g}×")
        axes.set_xlabel("CPUs")
    return panels.figure


def say(b, host):
    counts = sorted({n for points in b.policies.values() for n, _ in points})
    n = max([c for c in counts if host and c <= host] or counts)
    gains = b.gains(n)
    if n == counts[0] or not gains:
        return f"{b.phrase}, no figure within the {words.plural(host, 'CPU')} of the host"
    low, high = min(gains, key=gains.get), max(gains, key=gains.get)
    each = f"{words.times(gains[low])} ({low})" + (f" to {words.times(gains[high])} ({high})" if low != high else "")
    noise = ", alike within noise" if len(gains) > 1 and words.alike(gains.values()) else ""
    than = "" if counts[0] == 1 else f" those of {counts[0]}"
    weak = words.weak(p for p in gains if (p, n) in b.few or (p, counts[0]) in b.few)
    return f"{b.phrase} {each}{than}{noise}{weak}"


def section(data):
    command = data.command("scale_*", seconds=60)
    benches = [b for name in PANELS if (b := Lines(data, name)).policies]
    if not benches:
        what = words.listed(PANELS, "or")
        return missing(NAME, TITLE, f"no run here has measured {what} with several numbers of CPUs", command)
    flushes = sorted({b.flush for b in benches})
    most = max(n for b in benches for points in b.policies.values() for n, _ in points)
    most = min(most, data.host_cpus or most)
    said = (f"Throughput of {words.plural(most, 'CPU')} over that of 1, under {words.listed(flushes)}: "
            + "; ".join(say(b, data.host_cpus) for b in benches))
    if absent := [name for name in PANELS if not data.select(name, cpus=Lines(data, name).cpus)]:
        said += f"; {words.listed(absent)} {'was' if len(absent) == 1 else 'were'} not measured"
    note = "Operations a second, until all that was put off is done, over those of the fewest CPUs."
    if data.host_cpus and max(b.cpus for b in benches) > data.host_cpus:
        note += f" Grey ground: more CPUs than the {data.host_cpus} of the host, so there its scheduler is measured."
    elif not data.host_cpus:
        note += " The files do not say how many CPUs the host had; beyond those, its scheduler is what is measured."
    return Section(NAME, TITLE, said + ".", command, lambda narrow: draw(narrow, benches, data.host_cpus), note=note)
