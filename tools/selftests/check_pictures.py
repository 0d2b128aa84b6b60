# SPDX-License-Identifier: MIT
"""Tests of what the report's pictures and sentences are made of, on small sets whose answers are known, and of what it
does when a boot fails. Reported as KTAP; check_report.py looks at the page that results."""
import os
import re
import sys
import tempfile
import unittest.mock

import hist
import host
import report
import results
from pictures import (awaited, bystander, cdf, changes, instructions, lifetime, matrix_table, scaling, stolen, style, svg,
                      timeline, walkcost, words)
from pictures.data import Data
from selftests import selftest

suite = selftest.Suite("pictures")
patch = unittest.mock.patch.object
KEYS = {"v": 1, "build": "release", "table_free": "rcu", "tlb_flush": "ipi", "cpus": 2, "others": 0, "walkers": 0,
        "pages": 1, "remote": 0, "stolen_us": 0, "unit": "cycles"}


def differ(**pairs):
    """What is not as it should be: name=(got, wanted)."""
    return [f"{name}: {got!r}, not {wanted!r}" for name, (got, wanted) in pairs.items() if got != wanted]


def measured(name, values, **keys):
    """The BENCH and the HIST line of these values."""
    item, counts = KEYS | {"name": name} | keys, {}
    for value in values:
        counts[hist.bucket_of(value)] = counts.get(hist.bucket_of(value), 0) + 1
    item |= {"n": len(values), "min": min(values), "max": max(values)}
    return (item | {"median": sorted(values)[len(values) // 2]},
            item | {"bits": 6, "buckets": sorted([index, n] for index, n in counts.items())})


def data_of(*lines, header=None, verdicts=(), trace=()):
    run = results.Run("test", header or {"cpus": 2})
    for bench, histogram in lines:
        run.bench.append(bench)
        run.hist.append(histogram)
    run.verdicts, run.trace = list(verdicts), list(trace)
    return Data([run])


def verdict(policy, flush, claimed, found):
    return {"table_free": policy, "tlb_flush": flush, "claimed": claimed, "found": found}


@suite.test
def numbers_as_words():
    return differ(
        small=(words.count(4021), "4,021"), large=(words.count(16_700_000), "16.7 M"), none=(words.count(None), "–"),
        tick=(words.tick(10_000), "10 k"), ns=(words.time(950), "950 ns"), us=(words.time(45_670), "45.7 µs"),
        ms=(words.time(300e6), "300 ms"), carry=(words.time(99_600), "100 µs"), page=(words.value(1, "pages"), "1 page"),
        three=(words.listed(["a", "b", "c"]), "a, b and c"), one=(words.listed(["a"]), "a"))


@suite.test
def ranking_says_noise_where_there_is_only_noise():
    return differ(noise=(words.ranking({"a": 100, "b": 105}, "cycles"),
                         "100 cycles (a) to 105 cycles (b), which is within noise"),
                  more=(words.ranking({"a": 100, "b": 300}, "cycles"),
                        "100 cycles (a) to 300 cycles (b), 3.00 times as much"),
                  one=(words.ranking({"a": 7}, "cycles"), "7 cycles under a, the only one measured"))


@suite.test
def the_sentence_on_safety_names_each_pair():
    right = [verdict("rcu", f, "safe", "clean") for f in ("ipi", "pv")] + [
        verdict("ipi", "ipi", "safe", "clean"), verdict("ipi", "pv", "unsafe", "violated")]
    said = matrix_table.sentence(data_of(verdicts=right))
    wrong = matrix_table.sentence(data_of(verdicts=right + [verdict("rcu", "ipi", "safe", "violated")]))
    return differ(right=(said, "Safe, and found clean, with every flush back-end: rcu; with the ipi back-end only: "
                               "ipi. Unsafe, and caught freeing tables under walkers, with the pv back-end only: ipi."),
                  contradiction=("Found otherwise than claimed with the ipi back-end only: rcu." in wrong, True),
                  unclear=(matrix_table.sentence(data_of(verdicts=[verdict("rcu", "pv", "safe", "inconclusive")])),
                           "Inconclusive with every flush back-end: rcu."))


@suite.test
def the_page_is_about_as_many_cpus_as_the_host_has():
    lines = [measured("unmap_page", [5], cpus=n) for n in (1, 2, 4)] + [measured("scale_walk", [5], cpus=8)]
    return differ(known=(data_of(*lines, header={"host_cpus": 3}).cpus, 2), unknown=(data_of(*lines).cpus, 2),
                  large=(data_of(*lines, header={"host_cpus": 16}).cpus, 4), only=(data_of(lines[0]).cpus, 1))


@suite.test
def distributions_say_their_medians():
    said = cdf.by_policy(data_of(measured("unmap_page", [100] * 500 + [120] * 499), measured(
        "unmap_page", [50] * 999, table_free="hazard"))).sentence
    return differ(median=("the median is 50 cycles (hazard) to 100 cycles (rcu), 2.00 times as much" in said, True),
                  tail=("99 % are done within 120 under the slowest (rcu)" in said, True))


@suite.test
def the_wait_before_a_reuse_has_two_panels():
    lines = [measured("table_wait", [wait] * 200, table_free=policy, walkers=walkers)
             for policy, wait in (("rcu", 8_000_000), ("ipi", 30_000)) for walkers in (0, 3)]
    said = cdf.reuse(data_of(*lines)).sentence
    return differ(nobody=("while nobody walks, the median is 30" in said, True),
                  others=("while 3 other CPUs walk the space, the median is 30" in said, True),
                  gap=("has measured" in cdf.reuse(data_of(measured("walk", [5]))).gap, True))


@suite.test
def waits_in_vain_are_told():
    def walked(policy, flush, awaited, proved):
        return measured("unmap_walked", [5], table_free=policy, tlb_flush=flush, walkers=1,
                        walkers_awaited_per_1000=awaited, walkers_proved_per_1000=proved)

    lines = walked("targeted", "ipi", 2000, 1500), walked("targeted", "nmi", 1000, 0), walked("auto", "ipi", 500, 0)
    said = awaited.section(data_of(*lines, walked("rcu", "ipi", 0, 0))).sentence
    return differ(said=(said, "Walkers for each unmap, where they have the space loaded: targeted waits for 2.00 under ipi "
                              "(75 % proved) and 1.00 under nmi (0 % proved); auto waits for 0.50 under ipi."),
                  gap=("has counted" in awaited.section(data_of(walked("rcu", "ipi", 0, 0))).gap, True))


@suite.test
def a_tables_life_is_told():
    lines = [measured(name, [ns], table_free=policy, walkers=1, unit="ns") for policy, free in
             (("rcu", 10_000_000), ("ipi", 50_000)) for name, ns in (("until_free", free), ("until_unmapped", 40_000))]
    section = lifetime.section(data_of(*lines, measured("pages_held", [100], unit="pages")))
    return differ(said=("another CPU walks (fewer than 5 samples of ipi and rcu): 50 µs (ipi) to 10 ms (rcu)."
                        in section.sentence, True), all=("<td class=\"number\">4,0" in section.table, True))


@suite.test
def the_floor_is_drawn_as_such():
    with patch(style.axes, "floors", lambda: ["rcu"]):
        return differ(order=(style.in_order(["rcu", "hazard", "aa"]), ["hazard", "aa", "rcu"]),
                      look=(style.look("rcu")["color"], style.MUTED), name=(style.called("rcu"), "rcu (floor)"))


@suite.test
def gaps_are_counted_per_second():
    bench, histogram = measured("bystander", [10, 10, 20, 100], unit="ns")
    noise = bystander.Noise(data_of((bench | {"gaps_per_sec": 400}, histogram)))
    x, y = bystander.exceedance(noise.gaps["rcu", "ipi"], 400)
    return differ(lengths=(list(x), [10, 20, 100]), rates=(list(y), [400, 200, 100]))


@suite.test
def who_waits_for_a_theft_is_told_apart():
    lines = [measured("unmap_stolen", [wait], table_free=policy, tlb_flush="pv", unit="ns", stolen_us=100_000)
             for policy, wait in (("rcu", 20_000), ("targeted", 99_000_000))]
    said = stolen.section(data_of(*lines)).sentence
    return differ(said=("under pv targeted waits and rcu does not" in said, True),
                  gap=("the runs here say nothing of pages_held" in said, True))


def drawn(section):
    return svg.text_of(section.draw(False))


@suite.test
def few_samples_are_marked():
    """One less than enough, and enough: in the table, in sentences, and by a ring in the pictures."""
    def texts(n):
        units = {"unmap_stolen": "ns", "unmap_longest": "ns", "pages_held": "pages"}
        thefts = data_of(*(measured(name, [20_000] * n, tlb_flush="pv", unit=unit, stolen_us=300_000)
                           for name, unit in units.items()))
        many = data_of(*((bench | {"ops_per_sec": 1000}, h) for others in (0, 1)
                         for bench, h in [measured("scale_shared", [5] * (n if others else 9), others=others)]))
        gap, gaps = measured("bystander", [10] * n, unit="ns")
        loads = data_of(measured("loads4", [90] * n, table_free="-"), measured("walk", [200] * 9))
        costs = matrix_table.Costs(thefts)
        return {"waits": stolen.section(thefts).sentence, "stolen drawn": drawn(stolen.section(thefts)),
                "scaling": scaling.section(many).sentence, "scaling drawn": drawn(scaling.section(many)),
                "bystander": bystander.section(data_of((gap | {"gaps_per_sec": 400, "lost_ppm": 5}, gaps))).sentence,
                "walk": walkcost.section(loads).sentence, "cell": costs.of("rcu", "pv")["worst"],
                "key": matrix_table.key(costs)}

    said = re.compile(r"fewer than 5 (samples|gaps)|\*$")
    marked = {n: [name for name, text in texts(n).items() if said.search(text)] for n in (4, 5)}
    return differ(four=(marked[4], list(texts(4))), five=(marked[5], []))


@suite.test
def what_is_new_looks_like_nothing_else():
    """As many new policies and back-ends as there are spare looks; the names of some have the same checksum."""
    new = [f"{a}{b}" for a in "abcdefgh" for b in "abcdefg"][:len(style.SPARE)]
    with unittest.mock.patch.dict(style.given, clear=True):
        names = [*style.LOOKS, *new]
        looks = [tuple(style.look(name).values()) for name in names]
        again = [tuple(style.look(name).values()) for name in names]
        more = style.look("one too many")
    return differ(different=(len(set(looks)), len(names)), again=(again, looks), more=(bool(more), True),
                  order=(style.in_order(["zz", "hazard", "aa", "ipi"]), ["ipi", "hazard", "aa", "zz"]))


@suite.test
def few_samples_are_no_change():
    old, new = (data_of(measured("walk", [value] * 4), measured("walk", [value] * 5, table_free="ipi"))
                for value in (1000, 3000))
    return differ(found=({c.label: c.beyond for c in changes.compare(new, old)},
                         {"walk ipi+ipi": True, "walk rcu+ipi": False}))


@suite.test
def scaling_is_relative_to_one_cpu():
    lines = [(bench | {"ops_per_sec": rate}, h) for n, rate in ((1, 1000), (2, 1500))
             for bench, h in [measured("scale_shared", [5], others=n - 1)]]
    data = data_of(*lines, header={"host_cpus": 2})
    return differ(points=(scaling.Lines(data, "scale_shared").relative("rcu"), [(1, 1.0), (2, 1.5)]),
                  said=("unmaps of all in one space 1.50 × (rcu)" in scaling.section(data).sentence, True))


@suite.test
def events_become_spans():
    def event(name, ph, ns, cpu=0):
        return {"scene": "unmap", "table_free": "rcu", "tlb_flush": "ipi", "cpu": cpu, "ns": ns, "event": name,
                "ph": ph}

    trace = [event("unmap", "B", 0), event("flush", "B", 10), event("flush", "E", 30), event("unmap", "E", 50),
             event("walk", "E", 5, 1), event("walk", "B", 40, 1), event("table_freed", "i", 90)]
    scene, = timeline.scenes(data_of(trace=trace))
    spans = sorted((s.event, s.cpu, s.start, s.end, s.depth) for s in scene.spans)
    return differ(spans=(spans, [("flush", 0, 10, 30, 1), ("unmap", 0, 0, 50, 0), ("walk", 1, 0, 5, 0),
                                 ("walk", 1, 40, 90, 0)]),
                  instants=(scene.instants, [("table_freed", 0, 90)]),
                  said=("took 50 ns (rcu); its last table was free after 90 ns (rcu)" in timeline.say([scene]), True))


@suite.test
def changes_are_told_from_noise():
    values = [1000 + i % 7 for i in range(2000)]
    old = data_of(measured("walk", values), measured("walk", values, table_free="ipi"))
    new = data_of(measured("walk", [v * 3 // 2 for v in values]),
                  measured("walk", [v + 3 for v in values], table_free="ipi"))
    found = {c.label: c.beyond for c in changes.compare(new, old)}
    return differ(found=(found, {"walk rcu+ipi": True, "walk ipi+ipi": False}),
                  same=([c.beyond for c in changes.compare(old, old)], [False, False]))


def counts(name, usual, others=(), **keys):
    """Lines of counted instructions: `usual` and some others."""
    bench, histogram = measured(name, [usual] * 9 + list(others), **{"cpus": 1, "unit": "instructions"} | keys)
    return bench | ({"usual": usual} if len(others) < 9 else {}), histogram


@suite.test
def instructions_are_no_cycles():
    lines = [measured("walk", [300]), counts("walk", 85, [97]), counts("unmap_page", 1032, [1028] * 9),
             counts("walk", 170, cpus=2)]
    data = data_of(*lines)
    few = data_of(lines[0])
    return differ(cycles=(data.median("walk"), 300), counted=(data.instructions("walk"), (85, True)),
                  least=(data.instructions("unmap_page"), (1028, False)), cpus=(data.cpus, 2),
                  absent=(few.instructions("walk"), (None, False)),
                  table=([name in matrix_table.html(some) for some in (data, few)
                          for name in ("≥ 1,028", ">instructions<")], [True, True, False, False]),
                  each=("walk rcu+ipi</th><td class=\"number\">85</td><td class=\"number\">300</td>"
                        "<td class=\"number\">3.5<" in instructions.section(data).table, True),
                  gap=("no run here has counted" in instructions.section(few).gap, True),
                  alone=(data_of(*lines[1:]).median("walk"), 170))


@suite.test
def a_counted_instruction_more_is_a_change():
    old = data_of(counts("walk", 85), counts("protect_page", 1000), counts("unmap_page", 1000, [990] * 9))
    new = data_of(counts("walk", 85), counts("protect_page", 1001), counts("unmap_page", 1001, [991] * 9))
    found = {c.label: (c.beyond, c.exact) for c in changes.compare(new, old)}
    said = changes.section(new, old).sentence
    return differ(found=(found, {"walk rcu+ipi": (False, True), "protect_page rcu+ipi": (True, True),
                                 "unmap_page rcu+ipi": (False, False)}),
                  said=("Of 2 exact instruction counts 1 has changed, protect_page rcu+ipi by most: 1,000 became 1,001."
                        in said, True))


@suite.test
def inlined_pictures_share_no_id():
    section = cdf.by_policy(data_of(measured("unmap_page", list(range(100, 200)))))
    texts = [svg.inline(svg.text_of(section.draw(False)), name, "x") for name in ("a", "b")]
    ids = [re.findall(r'\bid="([^"]+)"', text) for text in texts]
    refs = [set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text)) for text in texts]
    lost = [ref for some, known in zip(refs, ids) for pair in some for ref in pair if ref and ref not in known]
    return differ(shared=(set(ids[0]) & set(ids[1]), set()), lost=(lost, []),
                  colours=(re.findall("#[0-9a-f]{6}", texts[0]), []),
                  drawn=('class="data"' in texts[0] and "<text" in texts[0], True))


@suite.test
def boots_that_fail_are_named_and_the_others_go_on():
    with tempfile.TemporaryDirectory() as folder, patch(report, "LOGS", folder), patch(host, "FOLDER", folder), \
            patch(host, "measure", side_effect=KeyError("broken on purpose")), patch(report.machine, "check_available"), \
            unittest.mock.patch.dict(os.environ, {"SMP_LIST": "2", "SECONDS": "5"}):
        (_, failed), lines = selftest.said_by(report.measure_all)
    names = [line.split()[1].rstrip(":") for line in lines if line.startswith("  FAILED")]
    return [] if failed == len(names) > 2 and "verdicts" in names and "trace" in names else lines


if __name__ == "__main__":
    sys.exit(selftest.main(suite))
