# SPDX-License-Identifier: MIT
"""What a result file says of the machine that measured, so that a reader can judge its figures, and how to repeat the
run."""
import datetime
import itertools
import os
import re
import resource
import shlex
import shutil
import subprocess
import time

import machine
import qemu
import results

FOLDER = "build/results"
BUSY = 0.25  # CPUs that others may use before the host counts as busy
DEFAULTS = {"smp": 4, "mem": "512M", "accel": "tcg", "firmware": "bios", "machine": "q35", "cpu": "", "build": "check",
            "emulator": "qemu"}


def cpu_model():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        names = re.findall(r"^model name\s*: (.*)$", f.read(), re.MULTILINE)
    return names[0] if names else os.uname().machine


def cpus():
    """Those that this process may use."""
    return len(os.sched_getaffinity(0))


def emulator_version(config):
    """QEMU prints its version. Bochs does so only when it boots, so its package's version is taken instead."""
    command = [qemu.QEMU, "--version"]
    if config.emulator == "bochs":
        command = ["dpkg-query", "-W", "-f=version ${Version}", "bochs"]
    if not shutil.which(command[0]):
        return "unknown"
    said = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout
    found = re.search(r"version (.*)", said)
    return found[1] if found else "unknown"


class Load:
    """How much of the host others use while a run is under way: all that was used, less what our children took."""

    def __init__(self):
        self.start = self.now()

    @staticmethod
    def now():
        with open("/proc/stat", encoding="utf-8") as f:
            user, nice, system, _idle, _iowait, *rest = (int(word) for word in f.readline().split()[1:9])
        ours = resource.getrusage(resource.RUSAGE_CHILDREN)
        busy = (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")
        return time.monotonic(), busy, ours.ru_utime + ours.ru_stime

    def others(self):
        """CPUs, on average since the beginning."""
        seconds, busy, ours = (b - a for a, b in zip(self.start, self.now()))
        return max(0.0, (busy - ours) / max(seconds, 0.01))


def overcommitted(accel, smp, host_cpus, others):
    """Why the guest's CPUs had to wait for each other or for other work of the host; "" if they did not. Counts of
    instructions do not depend on the host."""
    if accel == "icount":
        return ""
    if smp > host_cpus:
        return f"{smp} vCPUs on {host_cpus} host CPUs"
    if others > BUSY and smp + others > host_cpus + BUSY:
        return f"{smp} vCPUs on {host_cpus} host CPUs, of which others used {others:.1f}"
    return ""


def make_word(value):
    """A value for make's command line, in the shell's quotes."""
    return shlex.quote(str(value).replace("$", "$$"))


def repeat(config):
    """The shell command that repeats this run."""
    words = [f"{key.upper()}={make_word(getattr(config, key))}" for key, value in DEFAULTS.items()
             if getattr(config, key) != value]
    return " ".join(["make run"] + words + [f"CMDLINE={make_word(config.cmdline)}"])


def counted(config, result):
    """Where a hypervisor counts: what the guest has asked of it since boot, and what it has seen of that."""
    guest, inner = machine.asked(result.lines), qemu.HYPERVISORS.get(config.accel)
    if not guest or not inner or not result.counts:
        return {}
    asked = {"ipis": guest["ipi_xcall"], "flags": guest["flush_pv_flagged"],
             "hypercalls": guest["flush_hv_calls"] + guest["hvm_op"]}
    return {key: value for what, seen in inner.seen(result.counts).items()
            for key, value in ((f"asked_{what}", asked[what]), (f"seen_{what}", seen))}


def header(config, result, load, date):
    """The host's half of a result file's header; the kernel's comes from its serial line."""
    others, host_cpus = load.others(), cpus()
    model = qemu.cpu_model(config) if config.emulator == "qemu" else config.cpu or "default"
    return {"host_cpu": cpu_model(), "host_cpus": host_cpus, config.emulator: emulator_version(config),
            "accel": config.accel, "machine": config.machine, "cpu_model": model, "smp": config.smp, "mem": config.mem,
            "date": f"{date:%Y-%m-%dT%H:%M:%SZ}", "seconds": round(result.seconds, 1),
            "host_used_by_others": round(others, 2),
            "overcommitted": overcommitted(config.accel, config.smp, host_cpus, others),
            "command": repeat(config), "exit": result.exit, "ended": result.sentence} | counted(config, result)


def result_path(config, date, folder):
    """A new file's name, which a person can read and which sorts by time."""
    mode = re.search(r"\bmode=(\w+)", config.cmdline)
    emulator = config.accel if config.emulator == "qemu" else config.emulator
    name = f"{folder}/{date:%Y%m%d-%H%M%S}-{config.build}-{mode[1] if mode else 'compare'}-smp{config.smp}-{emulator}"
    names = itertools.chain([f"{name}.jsonl"], (f"{name}-{number}.jsonl" for number in itertools.count(2)))
    return next(path for path in names if not os.path.exists(path))


def measure(config, path="", on_line=None, interactive=False):
    """machine.run(), and what it measured kept in a result file: (result, path; "" where nothing was measured)."""
    load, date = Load(), datetime.datetime.now(datetime.timezone.utc)
    result = machine.run(config, on_line=on_line, interactive=interactive)
    path = path or result_path(config, date, os.environ.get("RESULTS_TO") or FOLDER)
    return result, path if results.write(path, header(config, result, load, date), result.lines) else ""
