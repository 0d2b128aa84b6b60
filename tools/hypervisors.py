# SPDX-License-Identifier: MIT
"""Facts for tools/findings_template.md from docs/data/hypervisors.gz: what an unmap asks of a hypervisor, and what that
has seen of it. Counts only: there all is emulated twice over, so the file has no times, either."""
import nested
import results
import xen
from pictures import article

NAME = "unmap_page"
PLACES = {"kvm": "nested", "xen": "xen-domu"}  # {as the template names it: ACCEL=}
COUNTS = "ipi_flush", "ipis", "pv_flagged", "hypercalls"  # …_per_1000
KEYS = {*results.IDENTITY, "v", "n", "ops", *(f"{name}_per_1000" for name in COUNTS)}
HEADER = ("version", "build", "cmdline", "cpus", "hypervisor", "apic", "qemu", "accel", "date", "command",
          *(f"{who}_{what}" for what in ("ipis", "flags", "hypercalls") for who in ("asked", "seen")))


class Lacking(ValueError):
    """What was not measured; the text says so."""


def kept(runs):
    """The same runs with nothing but what the facts are made of."""
    return [results.Run(run.path, {key: run.header[key] for key in HEADER if key in run.header},
                        [{key: value for key, value in item.items() if key in KEYS} | {"median": None}
                         for item in run.bench if item["name"] == NAME]) for run in runs]


class Asked:
    """Sums over all policies but the unsafe control, with as many other CPUs in the space as there are."""

    def __init__(self, runs):
        self.runs = runs

    def cases(self, place, flush):
        found = [item for run in self.runs for item in run.bench
                 if run.header.get("accel") == PLACES[place] and item["tlb_flush"] == flush and
                 item["others"] == item["cpus"] - 1 and item["table_free"] not in article.UNSAFE]
        if not found:
            raise Lacking(f"no {NAME} with {flush} under {place}")
        return found

    def unmaps(self, place, flush):
        return sum(item["ops"] for item in self.cases(place, flush))

    def of_unmap(self, name, place, flush):
        """On average."""
        return sum(item[f"{name}_per_1000"] * item["ops"] for item in self.cases(place, flush)) / 1000 / self.unmaps(place, flush)

    def to_flush(self, place, flush):
        """CPUs."""
        return self.of_unmap("ipi_flush", place, flush)

    def sent(self, place, flush):
        """IPIs."""
        return self.of_unmap("ipis", place, flush)

    def flagged(self, place, flush):
        return self.of_unmap("pv_flagged", place, flush)

    def called(self, place, flush):
        return self.of_unmap("hypercalls", place, flush)

    def exits(self, place, flush):
        """Of the unmapper: each IPI and each hypercall is one (asked() and seen())."""
        return self.sent(place, flush) + self.called(place, flush)

    def row(self, place, flush):
        """Cells of a table."""
        return " | ".join(f"{number:.2f}" if number else "0" for number in
                          (each(place, flush) for each in (self.to_flush, self.sent, self.flagged, self.called, self.exits)))

    def proves(self, flush):
        """Does its completion prove that a walk with interrupts off has ended? As the sources say."""
        return article.implies(flush)

    def asked(self, *what):
        """\"ipis\", \"hypercalls\" or \"flags\", by the kernel's count: of each whole run in which the hypervisor counts them."""
        return [run.header[f"asked_{each}"] for run in self.runs for each in what if f"seen_{each}" in run.header]

    def seen(self, *what):
        """The exits for them, or flags that were found set, by the hypervisor's."""
        return [run.header[f"seen_{each}"] for run in self.runs for each in what if f"seen_{each}" in run.header]

    def apic_modes(self):
        return {run.header["apic"] for run in self.runs}

    def vcpus(self):
        return self.agreed("cpus")

    def measured_on(self):
        """The day."""
        return min(run.header["date"] for run in self.runs)[:10]

    def agreed(self, key):
        found = {run.header.get(key) for run in self.runs}
        if len(found) != 1:
            raise Lacking(f"the runs have {len(found)} values of {key}: {found}")
        return found.pop()

    def processors(self):
        """On which those run."""
        if nested.L2_CPUS != xen.CPUS:
            raise Lacking("KVM and Xen do not have as many processors")
        return xen.CPUS

