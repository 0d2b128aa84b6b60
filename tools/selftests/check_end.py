# SPDX-License-Identifier: MIT
"""Tests of a run that a person watches, and no program: GRUB's menu, and the last lines, which stay until a key is
pressed. Reported as KTAP; the serial lines stay in build/test/end-*.log."""
import json
import os
import socket
import subprocess
import sys
import tempfile
import time

import grubcases
import machine
import patience
import qemu
import stuck
from selftests import selftest

suite = selftest.Suite("end")
BUDGET = 120
HOLD = 600  # seconds, longer than the budget; if they were taken as milliseconds, they would be over within PAUSE
PAUSE = 0.8
THE_END = "# The end: success. "
TINY = "mode=test test=lib.glob"
TITLES = ("Comparison: what each policy costs", "Comparison: which pairs are safe", "Tests",
          "Torture: random operations for five minutes", "Trace: timelines of shootdowns and grace periods, on the serial line")


class Guest:
    """A PC that boots the ISO. `grub`: commands before the menu; `cmdline`: by fw_cfg; `changes`: of the machine."""

    def __init__(self, name, grub="", cmdline="", options=(), **changes):
        config = machine.Config(smp=2, cmdline=cmdline, attended=True, **changes)
        self.folder = tempfile.TemporaryDirectory(prefix="quiesce-end-")  # removed with the guest
        folder = self.folder.name
        self.log = open(f"build/test/end-{name}.log", "w", encoding="utf-8")
        self.monitor, self.events = f"{folder}/monitor", f"{folder}/events"
        self.text = ""
        self.process = subprocess.Popen(
            qemu.command(config, folder) + grubcases.disk_arguments(folder, grub) +
            ["-monitor", f"unix:{self.monitor},server=on,wait=off", "-qmp", f"unix:{self.events},server=on,wait=off", *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.watch = patience.Watch(self.process, budget=BUDGET)

    def __enter__(self):
        self.watch.__enter__()
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.watch.__exit__()
        self.log.close()
        self.folder.cleanup()

    def read(self):
        """Read some more; False at the end."""
        data = self.process.stdout.read1()
        text = machine.ESCAPES.sub("", data.decode("utf-8", "replace"))
        self.log.write(text)
        self.text += text
        return bool(data)

    def says(self, *texts):
        """Wait for these texts on the serial line. What is wrong: [], or that the guest has ended without them."""
        while not (said := all(text in self.text for text in texts)) and self.read():
            pass
        return [] if said else [f"it has ended without {texts}: {self.text[-300:]!r}"]

    def ends(self):
        """Read the rest of its lines. What is wrong: [], or that it has not switched itself off."""
        while self.read():
            pass
        status = self.process.wait()
        return [f"time-out: {self.watch.why}"] if self.watch.why else [f"QEMU's status is {status}"] if status else []

    def kept(self):
        return [f"kept: {line}" for line in self.text.splitlines() if THE_END in line]

    def type(self, keys):
        """On the serial line."""
        self.process.stdin.write(keys)
        self.process.stdin.flush()

    def runs(self):
        """What is wrong: [], or that the machine is off."""
        try:
            said = stuck.Monitor(self.monitor).ask("info status")
        except stuck.Mute as error:
            return [f"it is off, or does not answer: {error}"]
        return [] if any("running" in line for line in said) else [f"it is {said}"]

    def press(self, *keys):
        monitor = stuck.Monitor(self.monitor)
        for key in keys:
            monitor.ask(f"sendkey {key}")

    def move(self, key, down):
        """Press the key, or release it, for which the human monitor has no command."""
        event = {"type": "key", "data": {"down": down, "key": {"type": "qcode", "data": key}}}
        with socket.socket(socket.AF_UNIX) as link, link.makefile("rw", encoding="utf-8") as lines:
            link.settimeout(BUDGET)
            link.connect(self.events)
            lines.readline()  # who it is
            for what in qemu.protocol("qmp_capabilities"), qemu.protocol("input-send-event", events=[event]):
                lines.write(json.dumps(what) + "\n")
                lines.flush()
                while "return" not in (reply := json.loads(lines.readline())):  # what comes before may be an event
                    if "error" in reply:
                        raise machine.Unavailable(f"QEMU takes no {what}: {reply}")


@suite.test
def the_end_stays_until_a_key_is_pressed():
    with Guest("key", grub=f"set quiesce_cmdline='{TINY} hold={HOLD}'") as pc:
        wrong = pc.says("\nquiesce: exit 0", THE_END, f"after {HOLD} s")
        time.sleep(PAUSE)
        wrong += pc.runs()
        pc.press("spc")
        return wrong + pc.ends()


@suite.test
def a_key_of_before_is_none():
    """Keys pressed while the run waits for a key on the serial line; the last one is released when the run has
    ended."""
    with Guest("stale", grub=f"set quiesce_cmdline='mode=print hold={HOLD}'") as pc:
        wrong = pc.says("quiesce 0.")
        pc.press("spc", "spc")
        pc.move("a", True)
        pc.type(b"pq")
        wrong += pc.says(THE_END)
        pc.move("a", False)
        time.sleep(PAUSE)
        wrong += pc.runs()
        pc.press("spc")
        return wrong + pc.ends()


@suite.test
def without_a_screen_nothing_stays():
    with Guest("no-screen", grub=f"set quiesce_cmdline='{TINY} hold=86400'", options=("-vga", "none")) as pc:
        return pc.ends() + selftest.lacking(pc.text.splitlines(), "quiesce: exit 0") + pc.kept()


@suite.test
def with_its_screen_off_nothing_stays():
    with Guest("screen-off", grub=f"set quiesce_cmdline='{TINY} hold=86400 screen=off'") as pc:
        return pc.ends() + selftest.lacking(pc.text.splitlines(), "quiesce: exit 0") + pc.kept()


@suite.test
def the_end_goes_when_its_time_is_over():
    with Guest("time", grub=f"set quiesce_cmdline='{TINY} hold=1'") as pc:
        return pc.says(THE_END) + pc.ends()


@suite.test
def a_program_is_not_kept_waiting():
    """Its command line comes by fw_cfg."""
    with Guest("fwcfg", cmdline=TINY) as pc:
        return pc.ends() + pc.kept()


@suite.test
def without_a_loader_it_switches_itself_off():
    """By PM1's registers, by that of hardware-reduced ACPI, and by the keyboard controller."""
    wrong = []
    for board in "q35", "microvm", "q35,acpi=off":
        with Guest(f"pvh-{board}", options=("-vga", "none", "-append", TINY), firmware="pvh", machine=board) as pc:
            wrong += [f"{board}: {problem}" for problem in
                      pc.ends() + selftest.lacking(pc.text.splitlines(), "quiesce: exit 0")]
    return wrong


@suite.test
def the_menu_waits_for_whoever_is_not_qemu():
    """Ten seconds; for this test, on a busy host, an hour."""
    hour = 'if [ "$timeout_style:$timeout" = menu:10 ]; then set timeout=3600; fi'
    with Guest("menu", grub=hour, build="release", options=("-smbios", "type=1,manufacturer=Nobody")) as pc:
        if wrong := pc.says(*TITLES, "in 3600s"):
            return wrong
        pc.press("down", "down", "ret")
        return pc.says("KTAP version 1")


@suite.test
def each_entry_does_what_it_says():
    wrong = []
    for number, says in enumerate((("HEADER {", '"build":"release"'), ("judging table_free=",), ("KTAP version 1",),
                                   ("# torture 1 s: ",), ("TRACE {",))):
        with Guest(f"entry-{number}", grub=f"set default={number}", build="release") as pc:
            wrong += [f"{TITLES[number]}: {problem}" for problem in pc.says(*says)]
    return wrong


if __name__ == "__main__":
    os.makedirs("build/test", exist_ok=True)
    sys.exit(selftest.main(suite))
