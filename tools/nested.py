#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""ACCEL=nested: a genuine KVM without /dev/kvm (docs/nested.md). QEMU's TCG emulates a CPU with AMD's virtualisation;
an unmodified Debian kernel boots in it (L1), loads kvm-amd, and runs the guest (L2) in Debian's QEMU.

`nested.py fetch`, which make deps runs, gets the two packages that L1 is made of; they are unpacked, not installed."""
import dataclasses
import os
import re
import shlex
import shutil
import sys

import cpio
import debs
import machine
import stuck
from debs import Missing, find, kernel_module, read
from machine import QEMU

FOLDER = "build/nested"
WHOSE = "L1"  # troubles are those of Outcome
PACKAGES = debs.Packages(FOLDER, ("linux-image-cloud-amd64", "busybox-static"), (r"linux-image-\d\S*", "busybox-static"))
INIT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "nested-init.sh")
MODULES = ("irqbypass", "kvm", "kvm-amd")
FIRMWARE_FOLDERS = ("/usr/share/seabios", "/usr/share/qemu")
FIRMWARE = ("bios-256k.bin", "bios.bin", "kvmvapic.bin", "linuxboot_dma.bin")
L1_MEMORY = 512  # MiB beside L2's: the kernel, the initramfs twice while it is unpacked, QEMU
# With 1 CPU, all vCPUs but the running one always look preempted; with 4, almost none does.
L2_CPUS = 2
# CPU 0 runs none of L2's vCPUs. Where any CPU of L1 loads its FPU state, QEMU clears a bit of the first CPU's flags
# without a lock, and what VMRUN or #VMEXIT changes there at that instant is lost (docs/nested.md).
L1_CPUS = 1 + L2_CPUS
# Without 5-level paging, because L2 would be offered it.
L1_CPU = "max,-la57"
# tsc=reliable, for the Hyper-V clock. Periodic ticks (nohz=off highres=off), because QEMU loses an interrupt of L1 now
# and then, and the next one for the same CPU brings it back (docs/nested.md). maxcpus=1: INIT turns the others on.
L1_CMDLINE = "console=ttyS0 quiet loglevel=4 mitigations=off nokaslr panic=-1 tsc=reliable nohz=off highres=off maxcpus=1"
ASSERTION = re.compile(r"(qemu|QEMU|ERROR:).*[Aa]ssertion.*failed")


# --- The initramfs

def base_files(unpacked, qemu):
    files = {"init": (0o755, read(INIT)), "bin/busybox": (0o755, read(find(unpacked, "**/bin/busybox"))),
             "usr/bin/" + QEMU: (0o755, read(qemu))}
    for module in MODULES:
        files[f"modules/{module}.ko"] = (0o644, kernel_module(unpacked, module))
    for path, here in debs.libraries(qemu).items():
        files[path] = (0o755, read(here))
    for name in FIRMWARE:
        where = next((f"{folder}/{name}" for folder in FIRMWARE_FOLDERS if os.path.exists(f"{folder}/{name}")), None)
        if not where:
            raise Missing(f"the firmware file {name} is not installed: make deps")
        files[f"usr/share/qemu/{name}"] = (0o644, read(where))
    return files


def base():
    """Make what all runs share, if it is not there or out of date: (kernel, initramfs)."""
    qemu = shutil.which(QEMU)
    if not qemu:
        raise Missing(f"{QEMU} is not installed: make deps")

    def make(unpacked):
        return {"vmlinuz": read(find(unpacked, "boot/vmlinuz-*")),
                "base.cpio": cpio.archive(base_files(unpacked, qemu), ("proc", "sys", "dev", "tmp"))}

    debs.base(PACKAGES, (__file__, cpio.__file__, INIT), make, qemu)
    return f"{FOLDER}/vmlinuz", f"{FOLDER}/base.cpio"


# --- A run

def l2_script(l2):
    """It runs the command on all CPUs of L1 but the first."""
    return f"exec taskset {(1 << L1_CPUS) - 2:x} {shlex.join(l2)}\n"


def command(l2, files, memory, folder):
    """QEMU's arguments for L1, which runs the command `l2`. files: {path in L1: path here}; memory: L2's, as for -m;
    folder: private to this run. L1's second serial port, where L2's standard input and output are, is stdio."""
    kernel, initramfs = base()
    l2 = [*l2, "-chardev", "serial,id=monitor,path=/dev/ttyS2", "-mon", "chardev=monitor"]
    per_run = {path.lstrip("/"): (0o644, read(here)) for path, here in files.items()}
    per_run["l2"] = (0o755, l2_script(l2).encode())
    both = f"{folder}/initramfs"
    shutil.copyfile(initramfs, both)
    with open(both, "ab") as f:
        f.write(cpio.archive(per_run))
    size = f"{L1_MEMORY + machine.mebibytes(memory) + 2 * os.path.getsize(both) // (1 << 20)}M"
    return [QEMU, "-nodefaults", "-display", "none", "-vga", "none", "-no-reboot",
            "-object", f"memory-backend-ram,id=ram,size={size},reserve=off", "-m", size, "-machine", "pc,memory-backend=ram",
            "-accel", "tcg,thread=multi,tb-size=512", "-cpu", L1_CPU, "-smp", str(L1_CPUS),
            "-kernel", kernel, "-initrd", both, "-append", L1_CMDLINE,
            "-serial", f"file:{folder}/l1.log", "-serial", "stdio",
            "-serial", f"unix:{l2_monitor(folder)},server=on,wait=off"]


def l2_monitor(folder):
    """The socket that is L1's third serial port, where the monitor of L2's QEMU is."""
    return f"{folder}/l2-monitor"


def talks(folder):
    """Who can be asked when a run hangs: {whose: (socket, how)}."""
    return {"L2's QEMU": (l2_monitor(folder), stuck.monitor)}


@dataclasses.dataclass
class Outcome:
    status: int = None  # of L2's QEMU; None: L1 ended without reporting it
    counts: dict = dataclasses.field(default_factory=dict)  # {(event, value): how often}
    last: str = "nothing at all"  # of L1's console
    troubles: list = dataclasses.field(default_factory=list)  # what it says of a CPU of L2 that shut down, and of L1 itself

    def verdict(self, status):
        """The exit status of L2's QEMU, given that of L1's: (status, what to add to the sentence about it)."""
        if status is not None and self.status is not None:
            return self.status, ""
        # QEMU cannot have told of L2's success.
        return 1 if status == machine.SUCCESS else status, f"; L1 did not tell how L2 ended, its console said: {self.last}"

    def line(self):
        """The counts, for people and scripts: flags set in a steal-time record and honoured, IPIs, hypercalls by kind."""
        def total(event):
            return sum(n for (name, _), n in self.counts.items() if name == event)
        kinds = " ".join(f"hypercall_{code:#06x}={n}" for (name, code), n in sorted(self.counts.items())
                         if name == "kvm_hv_hypercall")
        return (f"# nested: kvm_pv_tlb_flush={self.counts.get(('kvm_pv_tlb_flush', 1), 0)} "
                f"preempted={total('kvm_pv_tlb_flush')} kvm_hv_flush_tlb={total('kvm_hv_flush_tlb')} "
                f"kvm_hv_flush_tlb_ex={total('kvm_hv_flush_tlb_ex')} ipis={seen(self.counts)['ipis']} {kinds}").rstrip()


def seen(counts):
    """What L2's counters count, too: writes of the x2APIC's command register for a cross-CPU call and flush hypercalls, of
    which each is an exit; flags, of which several that are set before the vCPU runs again are honoured as one."""
    return {"flags": counts.get(("kvm_pv_tlb_flush", 1), 0),
            "ipis": sum(n for (event, data), n in counts.items()
                        if event == "kvm_msr" and data & 0xffffffff == machine.CALL),
            "hypercalls": sum(n for (event, _), n in counts.items() if event == "kvm_hv_hypercall")}


def outcome(folder):
    """What L1 has reported."""
    result = Outcome()
    try:
        text = read(f"{folder}/l1.log").decode("utf-8", "replace")
    except FileNotFoundError:
        return result
    for line in text.splitlines():
        if "sysrq: Resetting" not in line:  # how INIT ends L1, in any case
            result.last = line.strip() or result.last
        if stuck.L1_TROUBLE.search(line):
            result.troubles.append(line.strip())
        if match := re.search(r"nested: (\w+) \w+=(\d+) (\d+)", line):
            result.counts[match[1], int(match[2])] = int(match[3])
        elif match := re.search(r"nested: status (\d+)", line):
            number = int(match[1])
            result.status = 128 - number if number > 128 else number  # the shell's way to name a signal
    return result


def main():
    if sys.argv[1:] != ["fetch"]:
        print(__doc__)
        return 2
    debs.fetched(PACKAGES, base, "ACCEL=nested")
    return 0


if __name__ == "__main__":
    sys.exit(main())
