#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""ACCEL=xen and ACCEL=xen-domu: a genuine Xen inside QEMU's TCG, which emulates AMD's virtualisation (docs/xen.md).
xen: Quiesce is Xen's dom0, in the mode PVH. xen-domu: dom0 is an unmodified Debian kernel with Xen's tools, and Quiesce
a domain that they create, in the mode PVH.

`xen.py fetch`, which make deps runs, gets the packages; they are unpacked, not installed."""
import collections
import dataclasses
import gzip
import os
import re
import shutil
import struct
import subprocess
import sys

import cpio
import debs
import machine
import stuck
from debs import Missing, find, read
from machine import QEMU, Unavailable

DOM0, DOMU = "xen", "xen-domu"  # ACCEL=
WHOSE = "Xen"  # troubles are those of Outcome
FOLDER = "build/xen"
LIBRARIES = "misc call devicemodel evtchn foreignmemory gnttab hypfs store toolcore toollog".split()
PACKAGES = debs.Packages(FOLDER, ("xen-system-amd64", "linux-image-amd64", "busybox-static"), (
    r"linux-image-\d\S*", "busybox-static", r"xen-hypervisor-\d\S*", r"xen-utils-\d\S*", "xenstore-utils",
    r"libyajl\d\S*", *(rf"libxen{name}\d\S*" for name in LIBRARIES)))
HERE = os.path.dirname(os.path.abspath(__file__))
INIT, VIRIDIAN = f"{HERE}/xen-init.sh", f"{HERE}/xen-viridian.asm"
PROGRAMS = ("xl", "xenstored", "xenconsoled", "xen-init-dom0", "xentrace", "xenstore-read")
# In the order in which they depend on one another.
MODULES = ("virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "virtio_console",
           "xen-privcmd", "xen-evtchn", "xen-gntdev", "xen-gntalloc", "xenfs")
NO_STATUS = 31  # QEMU's exit status by the byte 15, which xen-init.sh sends where there is none of the kernel's
CPUS = 2  # for the guest; with 1, all vCPUs but the running one are always preempted; with 4, almost none is
# Under a dom0 that uses the FPU, as Linux does, CPU 0 is dom0's alone, for the reason at L1_CPUS in nested.py.
DOMU_FIRST_CPU = 1
MOST_VCPUS = 128  # Xen's limit for domains with hardware's paging
DOM0_MEMORY = 384  # MiB for Linux and Xen's tools
XEN_MEMORY = 160  # MiB beside its domains'
# smap=hvm: QEMU's IRETQ to user mode reads the stack with the kernel's rights, so a PV dom0 with SMAP dies by a page
# fault at once. bootscrub=0: the memory is zero already.
INVARIANT_TSC = b"TCG doesn't support requested feature: CPUID.80000007H:EDX.invtsc"
XEN_CMDLINE = "loglvl=warning guest_loglvl=warning smap=hvm bootscrub=0"
LINUX_CMDLINE = "console=hvc0 quiet mitigations=off nokaslr panic=-1 cryptomgr.notests"


# --- What all runs share

def base_files(unpacked):
    """dom0's initramfs: {path: (mode, bytes)}."""
    files = {"init": (0o755, read(INIT)), "bin/busybox": (0o755, read(find(unpacked, "**/bin/busybox"))),
             "etc/xen/xl.conf": (0o644, b'autoballoon="off"\n')}
    libraries = {}
    for name in PROGRAMS:
        folder = "usr/bin" if name == "xenstore-read" else "usr/lib/xen-*/bin"
        program = find(unpacked, f"{folder}/{name}")
        files[f"bin/{name}"] = (0o755, read(program))
        libraries |= debs.libraries(program, unpacked)
    libc = next(path for path in libraries if os.path.basename(path) == "libc.so.6")
    ends_threads = os.path.join(os.path.dirname(libc), "libgcc_s.so.1")  # loaded when a thread is cancelled
    for path, here in (libraries | {ends_threads: "/" + ends_threads}).items():
        files[path] = (0o755, read(here))
    for number, name in enumerate(MODULES, 10):
        files[f"modules/{number}-{name}.ko"] = (0o644, debs.kernel_module(unpacked, name))
    return files


def assembled(source):
    """What NASM makes of it, as it stands."""
    done = subprocess.run(["nasm", "-f", "bin", "-o", "/dev/stdout", source], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, check=True)
    return done.stdout


def make_base(unpacked):
    files = base_files(unpacked) | {"bin/viridian": (0o755, assembled(VIRIDIAN))}
    return {"xen": gzip.decompress(read(find(unpacked, "*/xen-*.gz"))),
            "vmlinuz": read(find(unpacked, "boot/vmlinuz-*")),
            "base.cpio": cpio.archive(files, ("proc", "sys", "dev", "tmp", "run", "var/log"))}


def base():
    """Make it, if it is not there or out of date."""
    debs.base(PACKAGES, (__file__, cpio.__file__, INIT, VIRIDIAN), make_base)


# --- A run

def cpu_model(config):
    """The CPU that Xen runs on. Without 5-level paging, because the guest would be offered it. dom0 reads the TSC
    without an exit only if it is invariant, which QEMU does not claim of its own accord; it warns (INVARIANT_TSC)."""
    model = f"{config.cpu if config.cpu not in ('', 'hyperv') else 'max'},-la57"
    return f"{model},invtsc=on,x-force-features=on" if config.accel == DOM0 else model


def check_available(config):
    accel = f"ACCEL={config.accel}"
    for wrong, why in (
            (config.firmware != "bios", "QEMU loads Xen without a firmware's boot loader; use FIRMWARE=bios"),
            (config.machine != "q35", f"MACHINE={config.machine} does not fit: Xen needs q35's IOMMU"),
            (config.extra, "the guest's machine is Xen's, not QEMU's, so neither make debug nor ACPI tables"),
            (config.smp > MOST_VCPUS, f"Xen gives a domain at most {MOST_VCPUS} vCPUs, so not SMP={config.smp}"),
            (config.cpu.split(",")[0] not in ("", "max", "hyperv"),
             f"CPU={config.cpu}: in TCG Xen panics on other models than max"),
            (config.cpu == "hyperv" and config.accel == DOM0,
             f"CPU=hyperv: Xen poses as Hyper-V only for ACCEL={DOMU}")):
        if wrong:
            raise Unavailable(f"{accel}: {why}")


def console(folder):
    """The socket that is the serial port of Xen's console."""
    return f"{folder}/xen-console"


def talks(folder):
    """Who can be asked when a run hangs: {whose: (socket, how)}."""
    return {"Xen": (console(folder), stuck.xen)}


def log(folder):
    """What Xen says there."""
    return f"{folder}/xen.log"


def kernel(config):
    """The ELF file that is in the ISO, without debugging information."""
    path = f"{machine.iso_of(config)}.d/boot/quiesce.elf"
    if not os.path.exists(path):
        raise Unavailable(f"{path} does not exist: make")
    return path


def machine_of(config, size, folder, cpus):
    """QEMU's arguments for both: a PC with CPUs that have AMD's virtualisation, and Xen as its kernel."""
    return [QEMU, "-nodefaults", "-display", "none", "-vga", "none", "-no-reboot",
            "-object", f"memory-backend-ram,id=ram,size={size}M,reserve=off", "-m", f"{size}M",
            "-machine", "q35,memory-backend=ram", "-accel", "tcg,thread=multi,tb-size=512", "-cpu", cpu_model(config),
            "-smp", str(cpus), "-device", "isa-debug-exit,iobase=0xf4,iosize=0x4", "-kernel", f"{FOLDER}/xen",
            "-chardev", f"socket,id=xen,path={console(folder)},server=on,wait=off,logfile={log(folder)}"]


def command(config, folder):
    """QEMU's arguments; `folder` is private to this run. The guest's console is standard input and output."""
    base()
    return (as_dom0 if config.accel == DOM0 else as_domu)(config, folder)


def as_dom0(config, folder):
    """The guest has COM1, isa-debug-exit and fw_cfg, as in plain QEMU."""
    memory = machine.mebibytes(config.mem)
    elf = shutil.copy(kernel(config), f"{folder}/quiesce.elf")
    options = (f"{XEN_CMDLINE} console=com2 com2=115200,8n1 dom0=pvh dom0_mem={memory}M,max:{memory}M "
               f"dom0_max_vcpus={config.smp} dom0_vcpus_pin")
    # Xen does without an IOMMU only if no domain owns devices as dom0 does.
    return [*machine_of(config, XEN_MEMORY + memory + memory // 32, folder, CPUS), "-device", "amd-iommu",
            "-serial", "stdio", "-serial", "chardev:xen", "-append", options, "-initrd", elf]


def quoted(text):
    """A string of xl's configuration file, in the quotes that are not in it. Characters are not given by their codes,
    because xl misreads these."""
    quote = "'" if '"' in text else '"'
    if quote in text or re.search("[\n\0]", text):
        raise Unavailable(f"ACCEL={DOMU}: xl takes no command line with both kinds of quotes, a new line or 0x00")
    return quote + text.replace("\\", "\\\\") + quote


def domain(config, memory):
    """xl's configuration file. Pinned, because a vCPU that is not was seen to wait while both CPUs were idle."""
    pins = ", ".join(f'"{DOMU_FIRST_CPU + number % CPUS}"' for number in range(config.smp))
    return "\n".join(('name="q"', 'type="pvh"', 'kernel="/quiesce.elf"', f"memory={memory}", f"vcpus={config.smp}",
                      f"cmdline={quoted(config.cmdline)}", 'tsc_mode="native"', f"cpus=[{pins}]", 'on_reboot="destroy"',
                      'on_crash="destroy"', ""))


def as_domu(config, folder):
    """dom0 carries the domain's console to a port of virtio-serial, and Xen's trace to another one: by a serial port's
    registers each byte would take as long as a hypercall."""
    memory = machine.mebibytes(config.mem)
    per_run = {"quiesce.elf": (0o644, read(kernel(config))),
               "q.cfg": (0o644, domain(config, memory).encode("latin-1", "replace"))}
    if config.cpu == "hyperv":
        per_run["viridian"] = (0o644, b"")
    both = shutil.copy(f"{FOLDER}/base.cpio", f"{folder}/initramfs")
    with open(both, "ab") as f:
        f.write(cpio.archive(per_run))
    options = (f"{XEN_CMDLINE} console=com1 com1=115200,8n1 dom0_mem={DOM0_MEMORY}M,max:{DOM0_MEMORY}M "
               f"dom0_max_vcpus={DOMU_FIRST_CPU} dom0_vcpus_pin")
    # The domain's own structures beside its memory: what xl reserves for it.
    size = XEN_MEMORY + DOM0_MEMORY + memory + memory // 32 + 2 * config.smp
    return [*machine_of(config, size, folder, DOMU_FIRST_CPU + CPUS), "-serial", "chardev:xen", "-device", "virtio-serial-pci",
            "-chardev", "stdio,id=guest", "-device", "virtconsole,chardev=guest",
            "-chardev", f"file,id=trace,path={folder}/trace", "-device", "virtserialport,chardev=trace",
            "-append", options, "-initrd", f"{FOLDER}/vmlinuz {LINUX_CMDLINE},{both}"]


# --- What Xen has seen

# Events of Xen's trace: a hypercall, with its number; a write of an MSR, with its number and the value's halves; records
# that found no room.
VMMCALL, MSR_WRITE, LOST = 0x82012, 0x8200d, 0x1f001
VIRIDIAN_CALL = 1 << 31  # in the number: of Hyper-V's interface
NAMES = {12: "memory_op", 17: "xen_version", 18: "console_io", 21: "vm_assist", 24: "vcpu_op", 29: "sched_op",
         32: "event_channel_op", 34: "hvm_op"}


def records(trace):
    """(event, its words) of xentrace's file: a head, a time stamp if bit 31 is set, and so many words as bits 28 to 30
    say. Raises struct.error for one that ends in the middle of a record."""
    at = 0
    while at < len(trace):
        head, = struct.unpack_from("<I", trace, at)
        at += 4 + 8 * (head >> 31)
        words = struct.unpack_from(f"<{head >> 28 & 7}I", trace, at)
        at += 4 * len(words)
        yield head & 0xfffffff, words


def exits(trace):
    """{hypercall: how often}, and the number of IPIs for cross-CPU calls and of lost records."""
    counts = collections.Counter(hvm_op=0, viridian=0, ipis=0, lost=0)
    for event, words in records(trace):
        if event == LOST:
            counts["lost"] += words[0]
        elif event == VMMCALL:
            number = words[0]
            counts["viridian" if number & VIRIDIAN_CALL else NAMES.get(number, f"hypercall_{number}")] += 1
        elif event == MSR_WRITE and words[:2] == (machine.X2APIC_ICR, machine.CALL):
            counts["ipis"] += 1
    return dict(counts)


def seen(counts):
    """What the guest's counters count, too: each is an exit."""
    return {"ipis": counts["ipis"], "hypercalls": counts["hvm_op"] + counts["viridian"]} if counts else {}


@dataclasses.dataclass
class Outcome:
    counts: dict = dataclasses.field(default_factory=dict)
    last: str = "nothing at all"  # of Xen's console
    troubles: list = dataclasses.field(default_factory=list)  # what it says of a domain or of itself that broke

    def verdict(self, status):
        """QEMU's exit status is the guest's: (status, what to add to the sentence about it)."""
        return status, "" if machine.exit_of(status) is not None else f"; Xen's console said: {self.last}"

    def line(self):
        """The counts, for people and scripts."""
        return "# xen: " + " ".join(f"{name}={n}" for name, n in self.counts.items()) if self.counts else ""


TROUBLE = re.compile(r"xen: error|Panic on CPU|[Cc]rashed|[Tt]riple fault|domain_crash|FATAL|Kernel panic|"
                     r"xen: the domain has shut down: reason (\d|1[0-5]|unknown)$")


def outcome(folder):
    result = Outcome()
    try:
        said = read(log(folder)).decode("utf-8", "replace").partition(f"(XEN) {stuck.XEN_HEARS}")[0].splitlines()
        result.last = next((line.strip() for line in reversed(said) if line.strip()), result.last)
        result.troubles = [line.strip() for line in said if TROUBLE.search(line)]
        if os.path.exists(f"{folder}/trace"):
            result.counts = exits(read(f"{folder}/trace"))
    except FileNotFoundError:
        pass
    except struct.error:  # a run that was killed
        result.troubles.append("the trace of hypercalls ends in the middle of a record")
    return result


def main():
    if sys.argv[1:] != ["fetch"]:
        print(__doc__)
        return 2
    debs.fetched(PACKAGES, base, f"ACCEL={DOM0} and ACCEL={DOMU}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
