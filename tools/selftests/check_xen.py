# SPDX-License-Identifier: MIT
"""Tests of xen.py and of what judges a run under Xen: its trace, its console, what it refuses, what a domain is given."""
import re
import socket
import struct
import sys
import tempfile
import threading

import host
import machine
import matrix
import stuck
import xen
from selftests import selftest

suite = selftest.Suite("xen_tools")


def record(event, *words, stamp=b""):
    return struct.pack("<I", event | len(words) << 28 | bool(stamp) << 31) + stamp + struct.pack(f"<{len(words)}I", *words)


@suite.test
def exits_are_counted_from_xens_trace():
    trace = record(0x1f003, 0, 56) + record(xen.VMMCALL, 34) + record(0x8200f) + record(xen.VMMCALL, 34, stamp=b"\x12" * 8) + \
        record(xen.VMMCALL, 0x80000002) + record(xen.LOST, 3, 0) + record(xen.VMMCALL, 99) + record(0x82020, 34, 34) + \
        record(xen.MSR_WRITE, 0x830, 0x40f1, 2) + record(xen.MSR_WRITE, 0x830, 0x40e1, 2) + record(xen.MSR_WRITE, 0x6e0, 0x40f1, 0)
    wrong, want = [], {"hvm_op": 2, "viridian": 1, "ipis": 1, "lost": 3, "hypercall_99": 1}
    if (got := xen.exits(trace)) != want:
        wrong.append(f"{got}")
    for cut in (trace[:-1], trace[:-4], trace + b"\x12"):
        try:
            wrong.append(f"a torn trace of {len(cut)} bytes: {xen.exits(cut)}")
        except struct.error:
            pass
    return wrong


@suite.test
def hypercalls_that_xen_has_not_seen_are_noticed():
    def error(more=(), **counts):
        said = "# nested: guest flush_pv_flagged=0 flush_hv_calls=7 flush_hv_fallbacks=0 flush_xen_calls=40 hvm_op=42"
        counts = {"hvm_op": 42, "viridian": 7, "lost": 0, "sched_op": 1} | counts
        return matrix.counts_error(machine.Result(0, "", [said, *more], 1.0, counts)) or ""
    wrong = [error()] if error() else []
    for part, got in (("Xen saw 41", error(hvm_op=41)), ("Xen saw 43", error(hvm_op=43)), ("Xen saw 6", error(viridian=6)),
                      ("lost 1 ", error(lost=1)), ("run after", error(["# [2/3] nested.xen_safe"]))):
        wrong += [] if part in got else [f"{part}: {got}"]
    return wrong


@suite.test
def what_a_hypervisor_has_counted_is_in_the_result_file():
    said = "# nested: guest ipi_xcall=5 flush_pv_flagged=9 flush_hv_calls=2 flush_hv_fallbacks=0 flush_xen_calls=3 hvm_op=4"
    of_kvm = {("kvm_msr", 2 << 32 | 0x40f1): 3, ("kvm_msr", 0x40f1): 2, ("kvm_msr", 0x40e1): 7, ("kvm_hv_hypercall", 2): 6,
              ("kvm_pv_tlb_flush", 0): 8, ("kvm_pv_tlb_flush", 1): 1}
    both = {"asked_ipis": 5, "seen_ipis": 5, "asked_hypercalls": 6, "seen_hypercalls": 6}
    cases = (("nested", said, of_kvm, both | {"asked_flags": 9, "seen_flags": 1}), ("xen", said, {}, {}), ("tcg", said, {}, {}),
             ("xen-domu", said, {"hvm_op": 4, "viridian": 2, "ipis": 5, "lost": 0}, both), ("nested", "# else", of_kvm, {}))
    return [f"{accel}: {got}" for accel, line, counts, want in cases if want !=
            (got := host.counted(machine.Config(accel=accel), machine.Result(0, "", ["# first", line], 1.0, counts)))]


@suite.test
def xen_refuses_what_it_cannot_do_by_name():
    wrong = []
    for part, accel, asked in (("FIRMWARE=bios", "xen", {"firmware": "uefi"}), ("needs q35", "xen-domu", {"machine": "pc"}),
                               ("make debug", "xen-domu", {"extra": ("-S",)}), ("SMP=129", "xen", {"smp": 129}),
                               ("CPU=EPYC", "xen", {"cpu": "EPYC"}), ("", "xen", {"cpu": "max,-x2apic"}),
                               ("CPU=hyperv", "xen", {"cpu": "hyperv"}), ("", "xen-domu", {"cpu": "hyperv"}),
                               ("", "xen", {"smp": 128})):
        try:
            xen.check_available(machine.Config(accel=accel, **asked))
            said = ""
        except machine.Unavailable as error:
            said = str(error)
        wrong += [] if bool(part) == bool(said) and part in said else [f"{accel} {asked}: {said or 'accepted'}"]
    return wrong


@suite.test
def command_lines_reach_a_domain_of_xen():
    wrong = []
    for text, want in (("a=b,*c", '"a=b,*c"'), ('x="1" 2', "'x=\"1\" 2'"), ("it's", '"it\'s"'), ("a\\b", '"a\\\\b"'), ("'\"", ""),
                       ("a\nb", ""), ("a\0b", "")):
        try:
            got = xen.quoted(text)
        except machine.Unavailable:
            got = ""
        wrong += [] if got == want else [f"{text!r}: {got}"]
    pins = re.search(r"^cpus=(.*)", xen.domain(machine.Config(smp=3, accel="xen-domu"), 64), re.MULTILINE)
    wrong += [] if pins and pins[1] == '["1", "2", "1"]' else [f"pins: {pins and pins[1]}"]
    return wrong + ([] if 'tsc_mode="native"' in xen.domain(machine.Config(accel="xen-domu"), 64) else ["each RDTSC is an exit"])


@suite.test
def what_xens_console_says_of_the_end_is_found():
    said = "(XEN) Brought up 2 CPUs\nxen: the domain has shut down: reason 3\n\n(XEN) *** Serial input to Xen (type...)\n(XEN) more\n"
    with tempfile.TemporaryDirectory() as folder:
        with open(xen.log(folder), "w", encoding="ascii") as f:
            f.write(said)
        with open(f"{folder}/trace", "wb") as f:
            f.write(record(xen.VMMCALL, 34)[:-1])
        seen = xen.outcome(folder)
    wrong = [] if seen.last.endswith("reason 3") and len(seen.troubles) == 2 and not seen.counts else [f"{seen}"]
    for status, want in ((None, None), (31, None), (0, None), (33, 0), (39, 3)):
        ended, note = seen.verdict(status)
        if machine.exit_of(ended) != want or bool(note) != (want is None):
            wrong.append(f"status {status}: {ended} {note}")
    return wrong + [f"a domain that ended well: {line}" for line in ("xen: the domain has shut down: reason 16",
                    "xen: the domain has shut down: reason 21") if xen.TROUBLE.search(line)]


@suite.test
def xen_is_asked_by_keys():
    """By a stand-in that answers each key, and by one that hangs up."""
    symbols = stuck.Symbols("build/quiesce-check.elf")
    address, name = symbols.functions[len(symbols.functions) // 2]

    def listen(folder, answers):
        server = socket.socket(socket.AF_UNIX)
        server.bind(f"{folder}/console")
        server.listen()

        def answer():
            talk, _ = server.accept()
            while (key := talk.recv(16)) and answers:
                talk.sendall(b"(XEN) key " + key[:1].replace(b"\x01", b"A") + b"\r\n(XEN)    00ff 12ab\r\n(XEN) RSP = 0x12  "
                             b"RIP = 0x%016x\r\n" % address)
            talk.close()
        threading.Thread(target=answer, daemon=True).start()

    wrong = []
    for answers, want in ((True, 2 * (1 + len(stuck.XEN_KEYS))), (False, 1)):
        with tempfile.TemporaryDirectory() as folder:
            listen(folder, answers)
            said = list(stuck.xen(f"{folder}/console", symbols))
        good = said[1].endswith(f" {name}+0x0") and "key A" in said if answers else "has not answered" in said[0]
        wrong += [] if len(said) == want and good else said
    return wrong


if __name__ == "__main__":
    sys.exit(selftest.main(suite))
