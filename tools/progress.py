# SPDX-License-Identifier: MIT
"""How far a series of runs is, for somebody who waits."""
import os
import re
import sys
import threading
import time

TERMINAL = sys.stdout.isatty()
BAR = 30
ANNOUNCED = re.compile(r"# (?:INFO: )?(\[\d+.*|measuring .*)")


def say(text):
    print(text, flush=True)


class Progress:
    """Run k of n and the time left: as a bar on one line of a terminal, as lines in a log. A run has a name, the
    seconds that it takes about, and may be `light`: then another one may be under way at the same time, so all lines of
    a light run are printed at its end, in one piece. `bar`: whether a terminal gets the bar."""

    def __init__(self, runs, bar=TERMINAL):
        self.bar = bar and TERMINAL
        self.runs, self.done, self.start = runs, 0, time.monotonic()
        self.estimated = sum(run.seconds for run in runs)
        self.estimated_done, self.pace = 0, 1.0
        self.running, self.detail = {}, ""  # {name: (run, since when)}
        self.lock = threading.RLock()
        if self.bar:
            threading.Thread(target=self.tick, daemon=True).start()

    def estimate_done(self):
        """The estimated seconds that are done, with a share of the runs that are under way."""
        now = time.monotonic()
        return self.estimated_done + sum(min((now - since) / self.pace, 0.95 * run.seconds)
                                         for run, since in self.running.values())

    def time_left(self):
        left = int(self.pace * (self.estimated - self.estimate_done()))
        return f"{left // 60}:{left % 60:02}"

    def draw(self):
        if self.bar:
            full = int(BAR * self.estimate_done() / max(1, self.estimated))
            text = (f"[{'#' * full}{'.' * (BAR - full)}] {self.done + 1} of {len(self.runs)}, {self.time_left()} left: "
                    f"{', '.join(self.running)} {self.detail}")
            sys.stdout.write("\r\x1b[K" + text[:os.get_terminal_size().columns - 1])
            sys.stdout.flush()

    def tick(self):
        """Redraw each second, so that the time left runs down also while no line comes."""
        while self.done < len(self.runs):
            time.sleep(1)
            with self.lock:
                if self.running:
                    self.draw()

    def announce(self, run):
        if not self.bar:
            say(f"[{self.done + 1} of {len(self.runs)}, {self.time_left()} left] {run.name} ...")

    def begin(self, run):
        with self.lock:
            self.running[run.name], self.detail = (run, time.monotonic()), ""
            if not run.light:
                self.announce(run)
            self.draw()

    def line(self, text):
        """A line of the serial log: the harness announces each test, each benchmark, each pair that it judges."""
        if self.bar and (match := ANNOUNCED.match(text)):
            with self.lock:
                self.detail = match[1]
                self.draw()

    def end(self, run, lines):
        with self.lock:
            if run.light:
                self.announce(run)
            del self.running[run.name]
            self.done += 1
            self.estimated_done += run.seconds
            # Correct the table's estimates by the pace of this machine, once enough is done to know it.
            if self.estimated_done >= 60:
                self.pace = max(0.05, (time.monotonic() - self.start) / self.estimated_done)
            self.note(lines)

    def note(self, lines):
        """Lines that stay, above the bar."""
        with self.lock:
            if self.bar:
                sys.stdout.write("\r\x1b[K")
            say("\n".join(lines))
