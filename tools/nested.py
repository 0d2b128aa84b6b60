#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""ACCEL=nested: a genuine KVM without /dev/kvm (docs/nested.md). QEMU's TCG emulates a CPU with AMD's virtualisation;
an unmodified Debian kernel boots in it (L1), loads kvm-amd, and runs the guest (L2) in Debian's QEMU.

`nested.py fetch`, which make deps runs, gets the two packages that L1 is made of; they are unpacked, not installed."""
import dataclasses
import fcntl
import glob
import gzip
import hashlib
import lzma
import os
import re
import shlex
import shutil
import subprocess
import sys

import stuck

FOLDER = "build/nested"
QEMU = "qemu-system-x86_64"
METAPACKAGE = "linux-image-cloud-amd64"
BUSYBOX = "busybox-static"
INIT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "nested-init.sh")
MODULES = ("irqbypass", "kvm", "kvm-amd")
FIRMWARE_FOLDERS = ("/usr/share/seabios", "/usr/share/qemu")
FIRMWARE = ("bios-256k.bin", "bios.bin", "kvmvapic.bin", "linuxboot_dma.bin")
L1_MEMORY = 512  # MiB beside L2's: the kernel, the initramfs twice while it is unpacked, QEMU
# With 1 CPU, all vCPUs but the running one always look preempted; with 4, almost none does.
L1_CPUS = 2
# Without 5-level paging, because L2 would be offered it.
L1_CPU = "max,-la57"
# tsc=reliable, for the Hyper-V clock. Periodic ticks (nohz=off highres=off), because QEMU loses an interrupt of L1 now
# and then, and the next one for the same CPU brings it back (docs/nested.md).
L1_CMDLINE = "console=ttyS0 quiet loglevel=4 mitigations=off nokaslr panic=-1 tsc=reliable nohz=off highres=off"
ASSERTION = re.compile(r"(qemu|QEMU|ERROR:).*[Aa]ssertion.*failed")


class Missing(Exception):
    """Nested KVM is not available here; the text says why."""


# --- The packages

def apt(*arguments):
    """Output of an apt command, or None."""
    if not shutil.which(arguments[0]):
        return None
    done = subprocess.run(arguments, cwd=FOLDER, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    return done.stdout if done.returncode == 0 else None


def packages():
    """The .deb files that are here: (kernel, busybox), each None if it is not."""
    def newest(pattern):
        return max(glob.glob(f"{FOLDER}/{pattern}"), key=os.path.getmtime, default=None)
    return newest("linux-image-*_amd64.deb"), newest(f"{BUSYBOX}_*_amd64.deb")


def download():
    depends = apt("apt-cache", "depends", METAPACKAGE) or ""
    kernel = re.search(r"Depends: (linux-image-\d\S*)", depends)
    return bool(kernel and apt("apt-get", "download", "-qq", kernel[1], BUSYBOX))


def fetch():
    """Get the packages, for make deps. False if that is not possible."""
    os.makedirs(FOLDER, exist_ok=True)
    if all(packages()):
        return True
    if not download() and shutil.which("apt-get"):  # the lists of packages may be missing or out of date
        as_root = [] if os.getuid() == 0 else ["sudo", "-n"]
        print(f"deps: as root: apt-get update, because apt's lists lack {METAPACKAGE} or {BUSYBOX}", flush=True)
        apt(*as_root, "apt-get", "update", "-qq")
        download()
    return all(packages())


# --- The initramfs: cpio archives in the "newc" format, which the kernel unpacks one after the other

def cpio_entry(name, mode, data=b"", rdev=(0, 0)):
    fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, *rdev, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


def cpio(files, folders=()):
    """files: {path in the archive: (mode, bytes)}; parents are made."""
    parents = set(folders)
    for path in files:
        while path := os.path.dirname(path):
            parents.add(path)
    archive = [cpio_entry(path, 0o40755) for path in sorted(parents)]
    archive += [cpio_entry(path, 0o100000 | mode, data) for path, (mode, data) in files.items()]
    return b"".join(archive) + cpio_entry("TRAILER!!!", 0)


def read(path):
    with open(path, "rb") as f:
        return f.read()


def unpack(package, folder):
    done = subprocess.run(["dpkg-deb", "-x", package, folder], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)
    if done.returncode:
        raise Missing(f"{package} cannot be unpacked: {done.stdout.strip()}")


def find(folder, pattern):
    found = sorted(glob.glob(f"{folder}/{pattern}", recursive=True))
    if not found:
        raise Missing(f"the packages hold no {pattern}")
    return found[0]


def zstd(data):
    if not shutil.which("zstd"):
        raise Missing("the kernel's modules are compressed by zstd, which is not installed")
    return subprocess.run(["zstd", "-dc"], input=data, stdout=subprocess.PIPE, check=True).stdout


DECOMPRESS = {".ko": bytes, ".xz": lzma.decompress, ".gz": gzip.decompress, ".zst": zstd}


def kernel_module(folder, name):
    """The bytes of a module, which Debian compresses since 13."""
    path = find(folder, f"**/{name}.ko*")
    suffix = os.path.splitext(path)[1]
    if suffix not in DECOMPRESS:
        raise Missing(f"{os.path.basename(path)} is compressed in an unknown way")
    return DECOMPRESS[suffix](read(path))


def libraries(program):
    """The libraries that the dynamic linker loads for the program, and the linker itself."""
    listing = subprocess.run(["ldd", program], stdout=subprocess.PIPE, text=True).stdout
    return re.findall(r"(/\S+) \(0x", listing)


def base_files(unpacked, qemu):
    files = {"init": (0o755, read(INIT)), "bin/busybox": (0o755, read(find(unpacked, "**/bin/busybox"))),
             "usr/bin/" + QEMU: (0o755, read(qemu))}
    for module in MODULES:
        files[f"modules/{module}.ko"] = (0o644, kernel_module(unpacked, module))
    for library in libraries(qemu):
        files[library.lstrip("/")] = (0o755, read(library))
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
    if not all(packages()):  # a run does not use the network: only fetch() does
        raise Missing(f"the packages that {METAPACKAGE} and {BUSYBOX} stand for are not in {FOLDER}/: make deps, with "
                      "a network")
    with open(f"{FOLDER}/lock", "w", encoding="ascii") as lock:  # two runs may want it at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        return made_base(qemu)


def made_base(qemu):
    """base(), where nobody else works in FOLDER."""
    kernel, initramfs = f"{FOLDER}/vmlinuz", f"{FOLDER}/base.cpio"
    key = hashlib.sha256(read(__file__) + read(INIT))
    for path in (*packages(), qemu):
        key.update(f"{path} {os.path.getsize(path)} {os.path.getmtime(path)}\n".encode())
    stamp = f"{FOLDER}/stamp"
    if os.path.exists(stamp) and read(stamp).decode() == key.hexdigest():
        return kernel, initramfs
    unpacked = f"{FOLDER}/unpacked"
    shutil.rmtree(unpacked, ignore_errors=True)
    for package in packages():
        unpack(package, unpacked)
    # Each is replaced in one step, because a run that has begun may still be reading the old one.
    shutil.copyfile(find(unpacked, "boot/vmlinuz-*"), f"{kernel}.new")
    with open(f"{initramfs}.new", "wb") as f:
        f.write(cpio(base_files(unpacked, qemu), ("proc", "sys", "dev", "tmp")))
    for path in (kernel, initramfs):
        os.replace(f"{path}.new", path)
    shutil.rmtree(unpacked)
    with open(stamp, "w", encoding="ascii") as f:
        f.write(key.hexdigest())
    return kernel, initramfs


# --- A run

def mebibytes(size):
    match = re.fullmatch(r"(\d+)([KMGT]?)", size.upper())
    if not match:
        raise Missing(f"MEM={size} is no size")
    return max(1, int(match[1]) * {"K": 1, "M": 1 << 10, "": 1 << 10, "G": 1 << 20, "T": 1 << 30}[match[2]] >> 10)


def command(l2, files, memory, folder):
    """QEMU's arguments for L1, which runs the command `l2`. files: {path in L1: path here}; memory: L2's, as for -m;
    folder: private to this run. L1's second serial port, where L2's standard input and output are, is stdio."""
    kernel, initramfs = base()
    l2 = [*l2, "-chardev", "serial,id=monitor,path=/dev/ttyS2", "-mon", "chardev=monitor"]
    per_run = {path.lstrip("/"): (0o644, read(here)) for path, here in files.items()}
    per_run["l2"] = (0o755, f"exec {shlex.join(l2)}\n".encode())
    both = f"{folder}/initramfs"
    shutil.copyfile(initramfs, both)
    with open(both, "ab") as f:
        f.write(cpio(per_run))
    size = f"{L1_MEMORY + mebibytes(memory) + 2 * os.path.getsize(both) // (1 << 20)}M"
    return [QEMU, "-nodefaults", "-display", "none", "-vga", "none", "-no-reboot",
            "-object", f"memory-backend-ram,id=ram,size={size},reserve=off", "-m", size, "-machine", "pc,memory-backend=ram",
            "-accel", "tcg,thread=multi,tb-size=512", "-cpu", L1_CPU, "-smp", str(L1_CPUS),
            "-kernel", kernel, "-initrd", both, "-append", L1_CMDLINE,
            "-serial", f"file:{folder}/l1.log", "-serial", "stdio",
            "-serial", f"unix:{l2_monitor(folder)},server=on,wait=off"]


def l2_monitor(folder):
    """The socket that is L1's third serial port, where the monitor of L2's QEMU is."""
    return f"{folder}/l2-monitor"


@dataclasses.dataclass
class Outcome:
    status: int = None  # of L2's QEMU; None: L1 ended without reporting it
    counts: dict = dataclasses.field(default_factory=dict)  # {(event, value): how often}
    last: str = "nothing at all"  # of L1's console
    troubles: list = dataclasses.field(default_factory=list)  # what it says of a CPU of L2 that shut down, and of L1 itself

    def line(self):
        """The counts, for people and scripts: flags set in a steal-time record and honoured, hypercalls by kind."""
        def total(event):
            return sum(n for (name, _), n in self.counts.items() if name == event)
        kinds = " ".join(f"hypercall_{code:#06x}={n}" for (name, code), n in sorted(self.counts.items())
                         if name == "kvm_hv_hypercall")
        return (f"# nested: kvm_pv_tlb_flush={self.counts.get(('kvm_pv_tlb_flush', 1), 0)} "
                f"preempted={total('kvm_pv_tlb_flush')} kvm_hv_flush_tlb={total('kvm_hv_flush_tlb')} "
                f"kvm_hv_flush_tlb_ex={total('kvm_hv_flush_tlb_ex')} {kinds}").rstrip()


def outcome(folder):
    """What L1 has reported."""
    result = Outcome()
    try:
        text = read(f"{folder}/l1.log").decode("utf-8", "replace")
    except FileNotFoundError:
        return result
    for line in text.splitlines():
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
    try:
        if fetch():
            base()
            print(f"deps: the packages for ACCEL=nested are in {FOLDER}/")
            return 0
        reason = "apt cannot download them"
    except Missing as error:
        reason = error
    print(f"deps: ACCEL=nested will not be available, and its tests will be skipped: {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
