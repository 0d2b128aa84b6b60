# SPDX-License-Identifier: MIT
"""Tests of make deps, with stand-ins for apt and sudo: nothing is installed here. And of what happens without a
package: tests are skipped, the packages for ACCEL=nested and ACCEL=xen are fetched."""
import concurrent.futures
import gzip
import lzma
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest.mock

import debs
import machine
import matrix
import needs
import test as test_py
from selftests import selftest

suite = selftest.Suite("deps")
patch = unittest.mock.patch.object
SCRIPT = os.path.join(os.path.dirname(needs.TABLE), "deps.sh")
REQUIRED, OPTIONAL = "nasm", "spin"  # packages, each with a line of its own in the table, and programs

# The programs that the script calls and that have no stand-in.
TOOLS = ("sh", "env", "cat", "grep", "awk", "tr", "sort", "rm", "mktemp", "dirname")
INSTALLED, CALLS = "installed", "calls"
# As the real apt-get: it installs all or nothing, and does not know every package. "$0" is in the folder of the
# stand-ins.
STAND_INS = {
    "apt-get": """here=${0%/*}; echo "$*" >>$here/calls
[ "$1" = install ] || exit 0
[ -e $here/as_root ] || { echo E: are you root?; exit 100; }
shift
for p; do case $p in -*) ;; *) ! grep -qx "$p" $here/unknown || { echo "E: Unable to locate package $p"; exit 100; };; esac; done
for p; do case $p in -*) ;; *) echo "$p" >>$here/installed;; esac; done""",
    "dpkg-query": 'for p; do :; done; grep -qx "$p" ${0%/*}/installed && echo install ok installed',
    "id": "echo 1000",
    "sudo": 'here=${0%/*}; echo "sudo $*" >>$here/calls; shift; : >$here/as_root; "$@"; status=$?; rm $here/as_root; exit $status',
}


class Machine:
    """A machine that has all packages except `missing`, and an apt that does not know `unknown`."""

    def __init__(self, missing=(), unknown=(), apt=True, sudo=True):
        self.folder = tempfile.TemporaryDirectory()
        at = self.folder.name
        for tool in TOOLS:
            os.symlink(shutil.which(tool), f"{at}/{tool}")
        for name, script in STAND_INS.items():
            if (apt or name not in ("apt-get", "dpkg-query")) and (sudo or name != "sudo"):
                self.program(name, script)
        rows = list(needs.rows())
        self.write(INSTALLED, [package for package, _, _ in rows if package not in missing])
        self.write("unknown", unknown)
        self.write(CALLS, [])
        for package, what, _ in rows:
            if not any(one in TOOLS for one in what.split(",")) and package not in missing and what[0] != "/":
                self.program(what.split(",")[0], "exit 0")

    def program(self, name, script):
        with open(f"{self.folder.name}/{name}", "w", encoding="ascii") as f:
            f.write(f"#!/bin/sh\n{script}\n")
        os.chmod(f"{self.folder.name}/{name}", 0o755)

    def write(self, name, lines):
        with open(f"{self.folder.name}/{name}", "w", encoding="ascii") as f:
            f.writelines(f"{line}\n" for line in lines)

    def deps(self):
        """Run make deps: (status, what it printed, what it called)."""
        done = subprocess.run(["/bin/sh", SCRIPT], env={"PATH": self.folder.name}, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        with open(f"{self.folder.name}/{CALLS}", encoding="ascii") as f:
            return done.returncode, done.stdout.splitlines(), f.read().splitlines()


def differs(got, **wanted):
    return [f"{name}: {got[i]!r}, not {value!r}" for i, (name, value) in enumerate(wanted.items()) if got[i] != value]


@suite.test
def what_is_there_needs_no_root():
    return differs(Machine().deps(), status=0, said=["deps: everything is here"], called=[])


@suite.test
def it_says_before_that_it_will_use_apt_as_root():
    """Before the first call: if sudo fails at once, it has been said all the same."""
    here = Machine(missing=[REQUIRED])
    here.program("sudo", "exit 1")
    status, said, _ = here.deps()
    return selftest.lacking(said[:1], "as root", "sudo", f"apt-get install {REQUIRED}") + (
        [] if status else ["status 0"])


@suite.test
def what_is_missing_is_installed_at_once():
    status, said, called = Machine(missing=[REQUIRED, OPTIONAL, "git"]).deps()
    installs = [call.split() for call in called if call.startswith("install")]
    right = status == 0 and len(said) == 1 and len(installs) == 1 and set(installs[0][-3:]) == {REQUIRED, OPTIONAL, "git"}
    return [] if right else [f"status {status}, said {said}, called {called}"]


@suite.test
def a_package_that_is_not_to_be_had_costs_its_tests_alone():
    here = Machine(missing=[REQUIRED, OPTIONAL, "gdb"], unknown=[OPTIONAL])
    status, said, _ = here.deps()
    wrong = selftest.lacking(said, f"{OPTIONAL} is missing and could not be installed: skipped without it: models")
    with open(f"{here.folder.name}/{INSTALLED}", encoding="ascii") as f:
        have = f.read().split()
    wrong += [f"{package} is not installed" for package in (REQUIRED, "gdb") if package not in have]
    return wrong + ([] if status == 0 and len(said) == 2 else [f"status {status}, said {said}"])


@suite.test
def a_package_that_all_needs_must_be_had():
    status, said, _ = Machine(missing=[REQUIRED, OPTIONAL], unknown=[REQUIRED]).deps()
    return selftest.lacking(said, f"Unable to locate package {REQUIRED}", f"failed; as root: apt-get install {REQUIRED}") + (
        [] if status == 1 else [f"status {status}"])


@suite.test
def without_apt_the_missing_are_named_with_their_packages_elsewhere():
    status, said, called = Machine(missing=["qemu-system-x86", "grub-common", OPTIONAL], apt=False).deps()
    wrong = selftest.lacking(said, "qemu-system-x86_64", "grub-mkrescue", f"{OPTIONAL} is missing")
    for system, packages in (("Fedora: dnf install", ("grub2-tools-extra", "qemu-system-x86")),
                             ("Arch: pacman -S", ("grub", "qemu-system-x86"))):
        words = " ".join(line for line in said if system in line).split()
        wrong += [f"{package} is not in {words}" for package in packages if package not in words]
        wrong += ["- for an unknown package"] if "-" in words else []
    return wrong + ([] if status == 1 and not called else [f"status {status}, called {called}"])


@suite.test
def without_apt_what_only_some_tests_need_may_be_missing():
    status, said, _ = Machine(missing=[OPTIONAL], apt=False).deps()
    return selftest.lacking(said, f"{OPTIONAL} is missing: skipped without it: models") + (
        [] if status == 0 else [f"status {status}"])


@suite.test
def each_line_of_the_table_names_what_there_is():
    """Configurations that exist; and no package by its version."""
    names = [run.name for run in matrix.MATRIX]
    wrong = []
    for package, _, patterns in needs.rows():
        wrong += [f"{package}: {p} is no configuration" for p in patterns if not any(needs.matches(n, p) for n in names)]
        wrong += [f"{package} carries a version"] if any(word.isdecimal() for word in package.split("-")) else []
    return wrong


@suite.test
def what_a_package_costs_is_skipped_by_name():
    """All configurations that the table names, and no others: no other needs these packages."""
    wrong = []
    for package, what, patterns in needs.rows():
        with patch(needs, "is_here", lambda which, what=what: which != what):
            lost = [run.name for run in matrix.MATRIX if package in needs.missing_for(run.name)]
            wrong += [f"{package}: {lost}"] if bool(lost) != bool(patterns) else []
    run = matrix.Run("models", 1, command=("false",))
    with patch(needs, "is_here", lambda what: what != "spin"), tempfile.TemporaryDirectory() as folder, \
            patch(test_py, "FOLDER", folder):
        outcome = test_py.execute(run, unittest.mock.Mock())
    right = [("models", f"{machine.LACKS}spin: make deps")]
    return wrong + ([] if outcome.skipped == right and not outcome.failed else [f"{outcome.skipped} {outcome.failed}"])


PACKAGES = debs.Packages("build/none", ("root",), (r"kernel-\d+", "tool"))


@suite.test
def packages_are_fetched_as_root_only_if_that_is_said():
    """Where apt's lists lack them, and where there is an apt."""
    wrong = []
    for there in (True, False):
        called = []
        with patch(debs, "apt", lambda folder, *words: called.append(words[-3:])), patch(debs.os, "makedirs"), \
                patch(debs.shutil, "which", return_value="here" if there else None):
            got, said = selftest.said_by(PACKAGES.fetch)
        updated = any("update" in words for words in called)
        announced = any("as root: apt-get update" in line for line in said)
        wrong += [] if not got and updated == announced == there else [f"apt {there}: {got}, {said}, {called}"]
    return wrong


@suite.test
def packages_are_those_that_apt_knows_and_the_newest_that_are_here():
    called, listing = [], "root\n  Depends: kernel-7\n  Depends: <kernel-x>\nkernel-7\nlibc6\nkernel-6\ntool\n"
    with patch(debs, "apt", lambda folder, *words: called.append(words) or listing):
        PACKAGES.download()
    wrong = [] if called[-1] == ("apt-get", "download", "-qq", "kernel-7", "tool") else [f"{called}"]
    with tempfile.TemporaryDirectory() as folder:
        for age, name in enumerate(("kernel-9_1_amd64", "kernel-8_1_amd64", "kernel-8-dbg_1_amd64")):
            open(f"{folder}/{name}.deb", "w", encoding="ascii").close()
            os.utime(f"{folder}/{name}.deb", (age, age))
        here = debs.Packages(folder, PACKAGES.roots, PACKAGES.names).files()
    return wrong + ([] if here == [f"{folder}/kernel-8_1_amd64.deb", None] else [f"{here}"])


@suite.test
def what_is_made_of_packages_is_made_anew_only_if_something_has_changed():
    """And in turns where runs want it at once, because they make it in the same place."""
    under_way, most = [], []

    def make(unpacked):
        under_way.append(1)
        time.sleep(0.05)
        most.append(len(under_way))
        under_way.pop()
        return {"base": b"made"}

    with tempfile.TemporaryDirectory() as folder:
        here = debs.Packages(folder, PACKAGES.roots, PACKAGES.names)
        for name in ("kernel-1_1_amd64.deb", "tool_1_amd64.deb", "source"):
            open(f"{folder}/{name}", "w", encoding="ascii").close()
        unpacked = patch(debs, "unpack", lambda package, where: os.makedirs(where, exist_ok=True))
        with unpacked, concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: debs.base(here, (f"{folder}/source",), make), range(4)))
            wrong = [] if most == [1] and debs.read(f"{folder}/base") == b"made" else [f"at once: {most}"]
            for changed in ("source", "tool_1_amd64.deb"):
                with open(f"{folder}/{changed}", "w", encoding="ascii") as f:
                    f.write("changed")
                list(pool.map(lambda _: debs.base(here, (f"{folder}/source",), make), range(4)))
    return wrong + ([] if most == [1, 1, 1] else [f"after changes: {most}"])


@suite.test
def compressed_modules_of_a_kernel():
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        for suffix, compress in (("", bytes), (".xz", lzma.compress), (".gz", gzip.compress)):
            os.makedirs(f"{folder}/{suffix}x/lib/modules")
            with open(f"{folder}/{suffix}x/lib/modules/kvm.ko{suffix}", "wb") as f:
                f.write(compress(b"module"))
            got = debs.kernel_module(f"{folder}/{suffix}x", "kvm")
            wrong += [] if got == b"module" else [f"kvm.ko{suffix}: {got}"]
        with open(f"{folder}/x/lib/modules/a.ko.new", "wb") as f:
            f.write(b"?")
        try:
            wrong.append(f"a.ko.new: {debs.kernel_module(f'{folder}/x', 'a')}")
        except debs.Missing as error:
            wrong += selftest.lacking([str(error)], "a.ko.new")
    return wrong


if __name__ == "__main__":
    sys.exit(selftest.main(suite))
