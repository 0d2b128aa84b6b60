# SPDX-License-Identifier: MIT
"""What was measured where: the headers of the runs."""
from html import escape

from pictures.section import Section

# Said once if all runs agree, else for each run.
LABELS = {
    "version": "version", "commit": "commit", "build": "build", "mutant": "mutant", "cmdline": "command line",
    "cpus": "CPUs", "smp": "SMP", "mem_mib": "memory, MiB", "mem": "MEM", "firmware": "firmware",
    "hypervisor": "hypervisor", "cpu": "guest CPU", "features": "CPUID features", "apic": "APIC", "clock": "clock",
    "tsc_khz": "TSC, kHz", "hz": "tick, Hz", "seed": "seed", "table_free": "default policy",
    "tlb_flush": "default flush", "qemu": "QEMU", "bochs": "Bochs", "accel": "accelerator",
    "machine": "machine", "cpu_model": "CPU model", "host_cpu": "host CPU", "host_cpus": "host CPUs",
    "overcommitted": "host overcommitted", "date": "date", "command": "repeat with",
    "asked_ipis": "IPIs for calls, by the kernel's count", "seen_ipis": "… by KVM's or Xen's",
    "asked_hypercalls": "flush hypercalls, by the kernel's count", "seen_hypercalls": "… by KVM's or Xen's",
    "asked_flags": "flush flags set, by the kernel's count", "seen_flags": "… found by KVM",
}
HIDDEN = {"v", "kind", "exit"}


def text_of(value):
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def rows_of(header, keys):
    ordered = [k for k in LABELS if k in keys] + sorted(k for k in keys if k not in LABELS)
    return "".join(f'<tr><th scope="row">{escape(LABELS.get(k, k))}</th><td>{escape(text_of(header[k]))}</td></tr>'
                   for k in ordered if k in header and header[k] not in ("", None))


def table(title, header, keys):
    rows = rows_of(header, keys)
    return f'<h3>{escape(title)}</h3><table class="facts"><tbody>{rows}</tbody></table>' if rows else ""


def section(data):
    headers = [run.header for run in data.runs]
    keys = {key for h in headers for key in h} - HIDDEN
    same = {key for key in keys if all(h.get(key) == headers[0].get(key) for h in headers)}
    parts = [table("All runs", headers[0], same)] if len(headers) > 1 else []
    for number, run in enumerate(data.runs, 1):
        kinds = ("BENCH", run.bench), ("HIST", run.hist), ("VERDICT", run.verdicts), ("TRACE", run.trace)
        what = [f"{len(some)} {kind}" for kind, some in kinds if some]
        title = f"Run {number}: {', '.join(what)} lines"
        parts.append(table(title, run.header, keys - same if len(headers) > 1 else keys) or f"<h3>{escape(title)}</h3>")
    lacking = sum(not h.get("host_cpu") for h in headers)
    sentence = (f"{lacking} of {len(headers)} runs come from the log of a serial line, which says nothing of its host."
                if lacking else "")
    return Section("machines", "What was measured where", sentence, table="".join(parts))
