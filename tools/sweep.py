#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make sweep: each line of SWEEP= (a file of make variables) in a boot of its own, through GNU parallel, JOBS= at a
time or over the machines of SSHLOGIN=. The results come together in build/sweep/NAME/, for `make report
RESULTS=build/sweep/NAME`. A sweep that was cut off continues where it was, and repeats what has failed. More is in
docs/report.md.

`sweep.py job PLAN NAME` is one boot, on whichever machine parallel has chosen."""
import dataclasses
import fcntl
import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time

import host
import machine
import results

FOLDER = "build/sweep"
VARIABLES = ("SMP", "MEM", "ACCEL", "FIRMWARE", "MACHINE", "CPU", "BUILD", "CMDLINE", "TIMEOUT", "EMULATOR")
KERNELS = ("build/quiesce.elf", "build/quiesce-check.elf")
ISOS = ("build/quiesce.iso", "build/quiesce-check.iso")


class Wrong(Exception):
    """The sweep cannot be run; the text says why."""


def say(text):
    print(text, flush=True)


@dataclasses.dataclass
class Job:
    name: str
    line: str
    variables: dict

    def config(self):
        return machine.config_from(({"BUILD": "release"} | self.variables).get)


def parse_line(where, text):
    """The variables of one line."""
    variables = {}
    try:
        words = shlex.split(text, comments=True)
    except ValueError as error:
        raise Wrong(f"{where}: {error}: {text}") from None
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name not in VARIABLES:
            raise Wrong(f"{where}: \"{word}\" is none of {'=, '.join(VARIABLES)}=")
        if name in variables:
            raise Wrong(f"{where}: {name}= is given twice")
        variables[name] = value
    if words and not variables.get("CMDLINE"):
        raise Wrong(f"{where}: no CMDLINE=")
    return variables


def read(path):
    """The jobs in the file."""
    try:
        with open(path, encoding="utf-8") as f:
            lines = f.read().splitlines()
    except OSError as error:
        raise Wrong(f"{path}: {error.strerror}") from None
    jobs = []
    for number, line in enumerate(lines, 1):
        if variables := parse_line(f"{path}:{number}", line):
            jobs.append(Job(f"{len(jobs) + 1:03}", line.strip(), variables))
            try:
                jobs[-1].config()
            except machine.Unavailable as error:
                raise Wrong(f"{path}:{number}: {error}") from None
    if not jobs:
        raise Wrong(f"{path}: no configuration in it")
    return jobs


def checksum(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def keep_plan(folder, jobs):
    """Write the plan of the sweep beside its results. Parallel knows a job by its number, and a report is of one
    kernel. So lines may be added at the end; with other lines or another kernel it is another sweep."""
    plan = {"jobs": [dataclasses.asdict(job) for job in jobs], "kernels": {path: checksum(path) for path in KERNELS}}
    path = f"{folder}/plan.json"
    if os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            before = json.load(f)
        begun = plan | {"jobs": plan["jobs"][:len(before["jobs"])]}
        what = [name for name, key in (("the file", "jobs"), ("the kernel", "kernels")) if before[key] != begun[key]]
        if what:
            raise Wrong(f"{' and '.join(what)} has changed since this sweep began; to begin anew: rm -r {folder}")
    os.makedirs(f"{folder}/logs", exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        json.dump(plan, f, indent=1)
    return path


def job(plan, name):
    """One boot; its result file and serial log go into the plan's folder."""
    with open(plan, encoding="utf-8") as f:
        jobs = [Job(**item) for item in json.load(f)["jobs"]]
    this, folder = next(j for j in jobs if j.name == name), os.path.dirname(plan)
    config = this.config()
    os.makedirs(f"{folder}/logs", exist_ok=True)
    with open(f"{folder}/logs/{name}.log", "w", encoding="utf-8", buffering=1) as log:
        result, path = host.measure(config, f"{folder}/{name}.jsonl", on_line=lambda line: log.write(line + "\n"))
    wrong = "" if result.ok and path else f": {result.sentence}" + ("" if path else ", and nothing was measured")
    say(f"[{name} of {len(jobs):03}] {'FAILED' if wrong else 'ok'}, {result.seconds:.0f} s on {os.uname().nodename}: "
        f"{this.line}{wrong}")
    return 1 if wrong else 0


def parallel(folder, plan, jobs):
    """GNU parallel's command line. `--workdir .`: on another machine the same folder below the home directory, if this
    folder is below ours."""
    fitting = host.cpus() // max(job.config().smp for job in jobs)
    command = ["parallel", "--will-cite", "--joblog", f"{folder}/joblog", "--resume-failed",
               "--jobs", os.environ.get("JOBS") or str(max(1, fitting))]
    if sys.stdout.isatty():
        command.append("--bar")
    if machines := os.environ.get("SSHLOGIN"):
        command += ["--sshlogin", machines, "--workdir", os.environ.get("WORKDIR") or "."]
        for path in (*ISOS, plan, "tools"):  # few: each is copied by a connection of its own, all at once
            command += ["--basefile", path]
        for path in (f"{folder}/{{}}.jsonl", f"{folder}/logs/{{}}.log"):
            command += ["--return", path]
    return command + [f"python3 -B tools/sweep.py job {shlex.quote(plan)} {{}}"]


def lock(folder):
    """The lock of this folder. Parallel holds it, too, in case it outlives us."""
    held = open(f"{folder}/lock", "w", encoding="utf-8")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Wrong(f"another make sweep is at work in {folder}") from None
    return held


def end(process):
    """Parallel lets running jobs finish at the first SIGTERM, and ends them at the second; but it may be too busy to
    notice one."""
    for _ in range(40):
        if process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        time.sleep(0.25)
    process.kill()
    process.wait()


def execute(command, names, held):
    """Run parallel, and end it when we are ended. It has a session of its own, because the terminal's ^C is for us."""
    def told(*_):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, told)
    process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True,
                               pass_fds=(held.fileno(),))
    try:
        process.communicate("".join(f"{name}\n" for name in names))
    finally:
        end(process)


def sweep(path):
    jobs = read(path)
    folder = f"{FOLDER}/{os.path.splitext(os.path.basename(path))[0]}"
    os.makedirs(folder, exist_ok=True)
    held = lock(folder)
    plan = keep_plan(folder, jobs)
    names = [job.name for job in jobs]
    done = sum(os.path.exists(f"{folder}/{name}.jsonl") for name in names)
    say(f"sweep: {len(jobs)} configurations of {path}" + (f", {done} of them measured before" if done else ""))
    execute(parallel(folder, plan, jobs), names, held)
    runs = results.load([folder]) if any(os.path.exists(f"{folder}/{name}.jsonl") for name in names) else []
    good = {os.path.basename(run.path) for run in runs if run.header.get("exit") == 0}
    failed = [name for name in names if f"{name}.jsonl" not in good]
    say(f"sweep: {len(names) - len(failed)} of {len(names)} measured, in {folder}/"
        + (f"; not: {', '.join(failed)}; again: make sweep SWEEP={path}" if failed
           else f"; make report RESULTS={folder}"))
    return 1 if failed else 0


def main(arguments):
    try:
        if arguments[:1] == ["job"]:
            return job(*arguments[1:])
        return sweep(os.environ.get("SWEEP") or "tools/example.sweep")
    except (Wrong, machine.Unavailable, results.Broken) as error:
        say(f"sweep: {error}")
        return 1
    except KeyboardInterrupt:
        say("sweep: interrupted; the same command continues from here")
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
