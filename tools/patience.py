#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""When has a child process hung? The clock cannot tell: a host with other work may give the process very little
processor time, and no test may fail for that. Two limits end it instead:

- its *budget*, in seconds of processor time, of the process and all its descendants. A process that hangs in a loop
  uses it up; a process that gets no processor does not.
- *sleep*: a process that hangs without running never uses up a budget. So about once a second all its threads are
  looked at. A thread that runs, waits for a processor, waits for a disk, or was stopped counts as awake. A look that
  finds no thread awake counts one up, any other look counts AWAKE_ONE_IN - 1 down, because even an idle Linux in QEMU
  wakes up for its ticks. At QUIET the threads are taken to wait for something that never comes. Looks are counted, not
  seconds: when the host does not let us look, nothing is counted.

A slow host alone reaches neither limit: the first needs a processor to be used, the second that no thread wants one.

`patience.py BUDGET COMMAND ...` runs a command with these limits."""
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
    """The fields behind the name in a /proc/…/stat: state, parent, ...; [] if the process has ended."""
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
    """Including what their children have used that have ended and were waited for."""
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
    """Kill the process and all its descendants, in any session. They are stopped first, so that none forks
    meanwhile."""
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for each in tree(pid):
            try:
                os.kill(each, number)
            except (ProcessLookupError, PermissionError):
                pass


class Patience:
    """The limits of one child. budget: seconds of processor time; 0: no limit. clock: seconds of the clock, where
    TIMEOUT= sets them. sleep: how many looks beyond QUIET it may sleep for."""

    def __init__(self, pid, budget=0, clock=0, sleep=0):
        self.pid, self.budget, self.clock, self.most_quiet = pid, budget, clock, QUIET + sleep
        self.start, self.used, self.quiet = time.monotonic(), 0.0, 0

    def look(self):
        """Why the child has to be ended, or ""."""
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
            return f"asleep: at {self.most_quiet} looks, one a second, hardly any of its threads wanted a processor"
        return ""


class Watch:
    """A thread that looks at a child until it ends. When the child has to be ended, it calls `end()`, which kills the
    child; `why` then is the reason. limits: of Patience."""

    def __init__(self, process, end=None, **limits):
        self.end = end or (lambda: kill_tree(process.pid))
        self.process, self.patience, self.why = process, Patience(process.pid, **limits), ""
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def watch(self):
        while not self.over.wait(LOOK_SECONDS) and self.process.poll() is None:  # one that ended may still be read
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
    """The same lines. A thread reads them as they come, so that their writer does not wait for what we do with them: a
    pipe that we print to may be full for a long time."""
    taken, end = queue.SimpleQueue(), object()

    def take():
        last = end
        try:
            for line in lines:
                taken.put(line)
        except BaseException as error:  # raised again where the lines are taken
            last = error
        taken.put(last)

    threading.Thread(target=take, daemon=True).start()
    while (line := taken.get()) is not end:
        if isinstance(line, BaseException):
            raise line
        yield line


def run(command, budget, end=None, stdin=subprocess.DEVNULL, **options):
    """As subprocess.run(), with the output in one piece: (status, or None if we ended it; text; why we ended it, or
    "")."""
    process = subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
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
    """A pool that begins nothing more after an interrupt; the terminal has interrupted the running commands itself."""
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
