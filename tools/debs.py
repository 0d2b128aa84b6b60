# SPDX-License-Identifier: MIT
"""Debian packages that ACCEL=nested and ACCEL=xen are made of: fetched by make deps, unpacked, not installed; and what
is made of them, once, for all runs."""
import dataclasses
import fcntl
import glob
import gzip
import hashlib
import lzma
import os
import re
import shutil
import subprocess


class Missing(Exception):
    """Something that the packages or this host should have is not there; the text says what."""


def read(path):
    with open(path, "rb") as f:
        return f.read()


# --- To get them

def apt(folder, *arguments):
    """Output of an apt command, or None."""
    if not shutil.which(arguments[0]):
        return None
    done = subprocess.run(arguments, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    return done.stdout if done.returncode == 0 else None


@dataclasses.dataclass(frozen=True)
class Packages:
    folder: str    # where they are, and what is made of them
    roots: tuple   # they are among what these packages need, and these themselves
    names: tuple   # patterns: of each the first package that matches; their versions are apt's

    def files(self):
        """Those that are here, newest first of each name; None for a name without one."""
        here = sorted(glob.glob(f"{self.folder}/*.deb"), key=os.path.getmtime, reverse=True)
        return [next((path for path in here if re.fullmatch(name, os.path.basename(path).split("_")[0])), None)
                for name in self.names]

    def download(self):
        needed = ("apt-cache", "depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts",
                  "--no-breaks", "--no-replaces", "--no-enhances")
        listed = [apt(self.folder, *needed, root) or "" for root in self.roots]
        known = re.findall(r"^(\w\S*)$", "\n".join(listed), re.MULTILINE)
        wanted = [next((one for one in known if re.fullmatch(name, one)), None) for name in self.names]
        return bool(all(wanted) and apt(self.folder, "apt-get", "download", "-qq", *wanted))

    def fetch(self):
        """For make deps. False if that is not possible."""
        os.makedirs(self.folder, exist_ok=True)
        if all(self.files()):
            return True
        if not self.download() and shutil.which("apt-get"):  # the lists of packages may be missing or out of date
            as_root = [] if os.getuid() == 0 else ["sudo", "-n"]
            print(f"deps: as root: apt-get update, because apt's lists lack {self}, or what they need", flush=True)
            apt(self.folder, *as_root, "apt-get", "update", "-qq")
            self.download()
        return all(self.files())

    def __str__(self):
        return " and ".join(", ".join(self.roots).rsplit(", ", 1))


def fetched(packages, base, accel):
    """make deps: get the packages and make the base, or say what will not be available."""
    try:
        if packages.fetch():
            base()
            print(f"deps: the packages for {accel} are in {packages.folder}/")
            return
        reason = "apt cannot download them"
    except Missing as error:
        reason = error
    print(f"deps: {accel} will not be available, and its tests will be skipped: {reason}")


# --- What they hold

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


def libraries(program, unpacked=""):
    """{path: file here} of the libraries that the dynamic linker loads for the program, and of the linker itself. Some
    are in the packages, the others are the host's."""
    where = glob.glob(f"{os.path.abspath(unpacked)}/usr/lib/*-linux-gnu") if unpacked else []
    listing = subprocess.run(["ldd", program], env=os.environ | {"LD_LIBRARY_PATH": ":".join(where)} if where else None,
                             stdout=subprocess.PIPE, text=True).stdout
    if lost := re.findall(r"(\S+) => not found", listing):
        raise Missing(f"{os.path.basename(program)} needs {', '.join(lost)}, which is not installed")
    root = os.path.abspath(unpacked) + "/" if unpacked else "/"
    return {path.removeprefix(root).lstrip("/"): path for path in re.findall(r"(/\S+) \(0x", listing)}


# --- What is made of them

def base(packages, sources, make, *others):
    """Make what all runs share, if it is not there or out of date: the files {name: bytes} that make(unpacked packages)
    returns, in the packages' folder. Out of date: the packages, one of the files `sources` or one of `others`, which
    are large, has changed."""
    if not all(packages.files()):  # a run does not use the network: only fetch() does
        raise Missing(f"the packages that {packages} stand for are not in {packages.folder}/: make deps, "
                      "with a network")
    with open(f"{packages.folder}/lock", "w", encoding="ascii") as lock:  # two runs may want it at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        key = hashlib.sha256(b"".join(map(read, (__file__, *sources))))
        for path in (*packages.files(), *others):
            key.update(f"{path} {os.path.getsize(path)} {os.path.getmtime(path)}\n".encode())
        made(packages, key.hexdigest(), make)


def made(packages, key, make):
    """base(), where nobody else works in the folder. `key` names the state of all that it is made of."""
    stamp, unpacked = f"{packages.folder}/stamp", f"{packages.folder}/unpacked"
    if os.path.exists(stamp) and read(stamp).decode() == key:
        return
    shutil.rmtree(unpacked, ignore_errors=True)
    for package in packages.files():
        unpack(package, unpacked)
    # Each is replaced in one step, because a run that has begun may still be reading the old one.
    for name, data in make(unpacked).items():
        with open(f"{packages.folder}/{name}.new", "wb") as f:
            f.write(data)
        os.replace(f"{packages.folder}/{name}.new", f"{packages.folder}/{name}")
    shutil.rmtree(unpacked)
    with open(stamp, "w", encoding="ascii") as f:
        f.write(key)
