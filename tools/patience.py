#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""When has a child process hung? Not after so many seconds of the clock: a host with other work gives it as little of a
processor as it likes, and nothing may fail for that. What ends it instead:

- its *budget*, in seconds of processor time, its own and that of all its descendants: whoever hangs in a loop uses that
  up, and whoever does not get a processor does not;
- *sleep*: one that hangs and uses nothing never uses up a budget. About once a second all threads are looked at. A
  thread that runs, waits for a processor, waits for a disk, or was stopped by somebody counts as awake. Where one is
  awake at less than one look in AWAKE_ONE_IN (an idle Linux in QEMU has its ticks), and QUIET looks have been so on
  balance, all of them wait for what does not come. Looks are counted, not seconds: when the host does not let us look,
  nothing is counted.

Neither can come from a slow host: the first needs a processor to be had, the second needs that nobody wants one.

`patience.py BUDGET COMMAND ...` runs a command so."""
import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time

LOOK_SECONDS = 1
QUIET = 180
AWAKE_ONE_IN = 3
AWAKE = frozenset("RDTt")
TICKS = os.sysconf("SC_CLK_TCK")


def fields_of(path):
    """What stands behind the name in a /proc/…/stat: state, parent, ...; nothing if the process has gone."""
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read().rpartition(") ")[2].split()
    except OSError:
        return []


def tree(pid):
    """{process: fields of its stat}: this one and all its descendants."""
    everyone = {int(name): fields for name in os.listdir("/proc")
                if name.isdigit() and (fields := fields_of(f"/proc/{name}/stat"))}
    children = {}
    for each, fields in everyone.items():
        children.setdefault(int(fields[1]), []).append(each)
    found, left = {}, [pid]
    while left:
        each = left.pop()
        if each in everyone:
            found[each] = everyone[each]
            left += children.get(each, [])
    return found


def seconds_used(processes):
    """With what their children had used that have ended and were waited for."""
    return sum(sum(int(ticks) for ticks in fields[11:15]) for fields in processes.values()) / TICKS


def is_awake(processes):
    for pid in processes:
        try:
            threads = os.listdir(f"/proc/{pid}/task")
        except OSError:  # gone
            continue
        if any(AWAKE.intersection(fields_of(f"/proc/{pid}/task/{thread}/stat")[:1]) for thread in threads):
            return True
    return False


def kill_tree(pid):
    """The process and all its descendants, in whatever sessions. Stopped first, so that none has a child meanwhile."""
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for each in tree(pid):
            try:
                os.kill(each, number)
            except (ProcessLookupError, PermissionError):
                pass


class Patience:
    """With one child. budget: of processor time; 0: without end. clock: seconds that somebody has set by TIMEOUT=.
    sleep: how many looks more than QUIET it may sleep for."""

    def __init__(self, pid, budget=0, clock=0, sleep=0):
        self.pid, self.budget, self.clock, self.most_quiet = pid, budget, clock, QUIET + sleep
        self.start, self.used, self.quiet = time.monotonic(), 0.0, 0

    def look(self):
        """Why it has to be ended, or ""."""
        if self.clock and time.monotonic() - self.start > self.clock:
            return f"still running after {self.clock:g} s"
        if not self.budget:
            return ""
        processes = tree(self.pid)
        self.used = max(self.used, seconds_used(processes))
        if self.used > self.budget:
            return f"still running after {self.used:.0f} s of processor time"
        self.quiet = max(0, self.quiet + (1 - AWAKE_ONE_IN if is_awake(processes) else 1))
        if self.quiet >= self.most_quiet:
            return f"asleep: hardly anything in it has wanted a processor at {self.most_quiet} looks, one a second"
        return ""


class Watch:
    """A thread that looks at a child until it ends. When that has to be ended, `end()` is called, which kills it; `why`
    then says the reason. limits: of Patience."""

    def __init__(self, process, end=None, **limits):
        self.end = end or (lambda: kill_tree(process.pid))
        self.process, self.patience, self.why = process, Patience(process.pid, **limits), ""
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def watch(self):
        while not self.over.wait(LOOK_SECONDS) and self.process.poll() is None:  # who ended may wait for being read
            if why := self.patience.look():
                self.why = why
                self.end()
                return

    def __enter__(self):
        if self.patience.budget or self.patience.clock:
            self.thread.start()
        return self

    def __exit__(self, *error):
        self.over.set()
        if self.thread.ident:
            self.thread.join()


def drained(lines):
    """The same lines. A thread takes them as they come, so that whoever writes them does not wait for what we do with
    them: a pipe that we print to may take nothing for long."""
    taken, end = queue.SimpleQueue(), object()

    def take():
        last = end
        try:
            for line in lines:
                taken.put(line)
        except BaseException as error:  # whoever takes the lines has to know
            last = error
        taken.put(last)

    threading.Thread(target=take, daemon=True).start()
    while (line := taken.get()) is not end:
        if isinstance(line, BaseException):
            raise line
        yield line


def run(command, budget, end=None, **options):
    """As subprocess.run(), what it says in one piece: (status, None if it was ended; text; why it was ended or "")."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               **options)
    try:
        with Watch(process, end and (lambda: end(process)), budget=budget) as watch:
            text = process.communicate()[0].decode(errors="replace")
    finally:
        if process.poll() is None:  # interrupted from the keyboard
            kill_tree(process.pid)
            process.wait()
    return (None if watch.why else process.returncode), text, watch.why


@contextlib.contextmanager
def interruptible(pool):
    """A pool of which nothing more is begun when we are interrupted; what runs has been told by the terminal, too."""
    with pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def main():
    budget, *command = sys.argv[1:]
    process = subprocess.Popen(command)
    try:
        with Watch(process, budget=float(budget)) as watch:
            status = process.wait()
    except KeyboardInterrupt:
        kill_tree(process.pid)
        return 130
    if watch.why:
        print(f"{command[0]}: {watch.why}", flush=True)
        return 124
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
