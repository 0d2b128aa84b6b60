# SPDX-License-Identifier: MIT
"""Tests of sweep.py: what its file may say; and a real sweep of three boots, ended in the middle, that goes on from
there."""
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import qemu
import results
import sweep
from selftests import selftest

suite = selftest.Suite("sweep")
NAME = "check-sweep"
FOLDER = f"{sweep.FOLDER}/{NAME}"
LINES = """\
# three boots, a few seconds each
SMP=1 CMDLINE="mode=bench bench=loads4,walk seconds=1"

SMP=1 CMDLINE="mode=bench bench=walk seconds=1" # this one is begun twice
SMP=1 MEM=256M CMDLINE="mode=bench bench=expedited seconds=1 hz=1000"
"""


def with_file(text, function):
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/{NAME}.sweep"
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return function(path)


def refusal(function, *arguments):
    try:
        function(*arguments)
    except sweep.Wrong as error:
        return str(error)
    return ""


@suite.test
def lines_become_configurations():
    jobs = with_file(LINES, sweep.read)
    got = [(job.name, job.config().smp, job.config().mem, job.config().build, job.config().cmdline) for job in jobs]
    want = [("001", 1, "512M", "release", "mode=bench bench=loads4,walk seconds=1"),
            ("002", 1, "512M", "release", "mode=bench bench=walk seconds=1"),
            ("003", 1, "256M", "release", "mode=bench bench=expedited seconds=1 hz=1000")]
    return [] if got == want else [str(got)]


@suite.test
def wrong_lines_are_named():
    wrong = []
    for line, part in (("SMP=x CMDLINE=a", "numbers"), ("SPM=2 CMDLINE=a", '"SPM=2"'), ("SMP=2", "no CMDLINE="),
                       ("x", '"x"'), ("SMP=2 SMP=3 CMDLINE=a", "twice"), ('CMDLINE="a', "quotation"),
                       ("SMP=2 RESULTS=b CMDLINE=a", "RESULTS")):
        said = with_file(f"# comment\n\n{line}\n", lambda path: refusal(sweep.read, path))
        if part not in said or ".sweep:3: " not in said:
            wrong.append(f"{line}: {said or 'no error'}")
    said = with_file("#\n", lambda path: refusal(sweep.read, path))
    return wrong + ([] if "no configuration" in said else [f"an empty file: {said or 'no error'}"])


@suite.test
def another_sweep_does_not_go_on_with_this_one():
    """Lines may be added at the end, but not changed, and the kernel may not."""
    with tempfile.TemporaryDirectory() as folder:
        def plan(text):
            return refusal(sweep.keep_plan, folder, with_file(text, sweep.read))

        first, added, changed = plan(LINES), plan(LINES + "CMDLINE=mode=bench\n"), plan(LINES.replace("256M", "1G"))
        sweep.checksum, checksum = (lambda path: "other"), sweep.checksum
        other = plan(LINES + "CMDLINE=mode=bench\n")
        sweep.checksum = checksum
    said = {"first": (first, ""), "added": (added, ""), "changed": (changed, "the file has"),
            "kernel": (other, "the kernel has")}
    return [f"{what}: {got!r}" for what, (got, want) in said.items() if want not in got or bool(got) != bool(want)]


# In the place of QEMU: the first boot is an ordinary one, each later one waits for as long as the file `hold` is there.
QEMU = """\
#!/bin/sh
case "$*" in *--version*) exec {qemu} "$@" ;; esac
mkdir {folder}/first 2>/dev/null || while [ -e {folder}/hold ]; do sleep 0.1; done
exec {qemu} "$@"
"""


def held_back(folder):
    """A PATH whose QEMU waits in this way."""
    path = f"{folder}/{qemu.QEMU}"
    with open(path, "w", encoding="utf-8") as f:
        f.write(QEMU.format(qemu=shutil.which(qemu.QEMU), folder=folder))
    os.chmod(path, 0o755)
    open(f"{folder}/hold", "w", encoding="ascii").close()
    return f"{folder}:{os.environ['PATH']}"


def start(path, search):
    return subprocess.Popen([sys.executable, "-B", "tools/sweep.py"],
                            env=os.environ | {"SWEEP": path, "JOBS": "1", "SSHLOGIN": "", "PATH": search},
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def joblog():
    """The numbers of the jobs that have ended."""
    try:
        with open(f"{FOLDER}/joblog", encoding="utf-8") as f:
            return [line.split("\t")[0] for line in f][1:]
    except OSError:
        return []


def wait_for_the_jobs():
    """A job that parallel has ended holds the lock until it is gone, which is after parallel."""
    with open(f"{FOLDER}/lock", "w", encoding="utf-8") as held:
        fcntl.flock(held, fcntl.LOCK_EX)


def cut_off_and_go_on(path):
    """The second boot waits, so that the sweep is in its middle however late we end it."""
    folder = os.path.dirname(path)
    search = held_back(folder)
    process = start(path, search)
    while not joblog() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    said = process.communicate()[0]
    os.remove(f"{folder}/hold")
    wait_for_the_jobs()
    before = joblog()
    if process.returncode != 130 or before[:1] != ["1"] or "3" in before:  # the second counts as ended: with a failure
        return [f"status {process.returncode}, ended {before}: {said}"]
    wrong, at = [], os.stat(f"{FOLDER}/001.jsonl").st_mtime_ns
    process = start(path, search)
    said = process.communicate()[0]
    if process.returncode or sorted(joblog()) != ["1", "2", "3"] or os.stat(f"{FOLDER}/001.jsonl").st_mtime_ns != at:
        wrong.append(f"then status {process.returncode}, ended {joblog()}: {said}")
    runs = results.load([FOLDER])
    found = sorted({item["name"] for run in runs for item in run.bench} & {"loads4", "walk", "expedited"})
    commands = [run.header["command"] for run in runs if "hz=1000" in run.header["command"]]
    command = "make run SMP=1 MEM=256M BUILD=release CMDLINE='mode=bench bench=expedited seconds=1 hz=1000'"
    return wrong + [f"{len(runs)} runs"] * (len(runs) != 3) + [str(found)] * (len(found) != 3) + (
        [] if commands == [command] else commands)


@suite.test
def sweep_that_was_cut_off_goes_on():
    shutil.rmtree(FOLDER, ignore_errors=True)
    return with_file(LINES, cut_off_and_go_on)


if __name__ == "__main__":
    sys.exit(selftest.main(suite))
