# SPDX-License-Identifier: MIT
"""One run of Quiesce in QEMU: the command line, the run within its limits, and a plain sentence about how it ended."""
import os
import re
import shutil
import subprocess
import tempfile
import time

import machine
import nested
import patience
import program
import stuck
import xen
from debs import Missing
from machine import QEMU, Lacking, Result, Unavailable, exit_of

# The module of the hypervisor that runs between QEMU and the guest, by ACCEL=.
HYPERVISORS = {"nested": nested, xen.DOM0: xen, xen.DOMU: xen}
GUEST_FAILED = re.compile(r"\s*not ok |# PANIC|# torture: [1-9]\d* violations")
OVMF = [("OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"), ("OVMF_CODE.fd", "OVMF_VARS.fd")]
OVMF_FOLDERS = ["/usr/share/OVMF", "/usr/share/edk2/ovmf", "/usr/share/edk2/x64"]
HYPERV = ("hv-relaxed", "hv-vpindex", "hv-time", "hv-synic", "hv-tlbflush", "hv-ipi", "hv-vapic", "hv-runtime")


def cpu_model(config):
    if HYPERVISORS.get(config.accel) is xen:
        return xen.cpu_model(config)
    if config.accel == "tcg":
        return config.cpu or "max"
    if config.accel == "icount":
        # QEMU 10's instruction counter does not know that RDMSR and WRMSR may access a device, so the x2APIC's timer
        # ends QEMU with "Bad icount read" (docs/measuring.md).
        return f"{config.cpu or 'max'},-x2apic"
    # A nested host may offer MSR_IA32_ARCH_CAPABILITIES in CPUID and yet refuse it, which ends QEMU at its start. In L1
    # the register that XSETBV writes does not keep its value.
    host = "host,-arch-capabilities" if config.accel == "kvm" else "host,-xsave"
    if config.cpu == "hyperv":
        return ",".join((host,) + HYPERV)
    return config.cpu if config.cpu and config.cpu != "max" else host


def refuses(accel, model):
    """What QEMU says when an accelerator does not offer a CPU model, by starting it and quitting; "" if it does."""
    done = subprocess.run([QEMU, "-nodefaults", "-display", "none", "-S", "-monitor", "stdio", "-accel", accel,
                           "-cpu", model], input="quit\n", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    said = done.stderr.strip().splitlines() or [f"QEMU ended with status {done.returncode}"]
    return "" if done.returncode == 0 else said[-1].removeprefix(f"{QEMU}: ")


def check_available(config):
    if not shutil.which(QEMU):
        raise Unavailable(f"{QEMU} is not installed: make deps")
    if config.machine.split(",")[0] not in ("q35", "pc", "microvm"):
        raise Unavailable(f"MACHINE={config.machine} is unknown; valid: q35, pc, microvm")
    if machine.is_microvm(config.machine) and config.firmware != "pvh":
        raise Unavailable("MACHINE=microvm has no drive for the ISO; use FIRMWARE=pvh")
    if config.accel in ("tcg", "icount") and config.cpu == "hyperv":
        raise Unavailable(f"CPU=hyperv: only with ACCEL=nested, ACCEL=kvm or ACCEL={xen.DOMU} is there a Hyper-V")
    if config.accel == "kvm" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        what = "may not be opened by this user" if os.path.exists("/dev/kvm") else "does not exist"
        raise Lacking(f"ACCEL=kvm: /dev/kvm {what}; use ACCEL=tcg or ACCEL=nested")
    if config.accel == "kvm" and config.cpu == "hyperv" and (refusal := refuses("kvm", cpu_model(config))):
        raise Lacking(f"ACCEL=kvm CPU=hyperv: KVM on this machine cannot pose as Hyper-V: {refusal}")
    # "enforce" demands all features that the model names, which may be more than this QEMU emulates.
    if config.accel == "tcg" and "enforce" in config.cpu.split(",") and (refusal := refuses("tcg", config.cpu)):
        raise Lacking(f"{machine.LACKS}a QEMU that emulates CPU={config.cpu}: {refusal}")
    if config.accel == "nested":
        if config.firmware == "uefi":
            raise Unavailable("ACCEL=nested: the UEFI firmware writes CR8, at which QEMU's emulation of AMD's "
                              "virtualisation fails an assertion (docs/nested.md); use FIRMWARE=bios")
        if config.firmware == "pvh":
            raise Unavailable("ACCEL=nested: L2 boots from the ISO; use FIRMWARE=bios")
        if config.extra:
            raise Unavailable("ACCEL=nested: L2's QEMU takes no more arguments, so neither make debug nor ACPI tables")
    if HYPERVISORS.get(config.accel) is xen:
        xen.check_available(config)
    if config.accel in HYPERVISORS:
        try:
            HYPERVISORS[config.accel].base()
        except Missing as error:
            raise Lacking(f"ACCEL={config.accel}: {error}") from None


def firmware_files(config):
    """The UEFI firmware's code and the initial state of its variables."""
    for where in OVMF_FOLDERS:
        for code, variables in OVMF:
            if os.path.exists(f"{where}/{code}") and os.path.exists(f"{where}/{variables}"):
                return f"{where}/{code}", f"{where}/{variables}"
    raise Unavailable("FIRMWARE=uefi: OVMF is not installed: make deps")


def seed_of(cmdline):
    """seed= as the kernel reads it, for the machine's own random numbers (RDRAND). The kernel reports a wrong one."""
    match = re.search(r"\bseed=(0x[0-9a-fA-F]+|\d+)", cmdline)
    return (int(match[1], 0) if match else 1) % (1 << 64)


def execution(config, folder, interactive=False):
    """How the CPUs are executed, and where the serial line goes. Under ACCEL=icount it goes to a file: a pipe is full
    now and then, and the guest would notice that it has to wait."""
    if config.accel != "icount":
        accel = {"tcg": "tcg,thread=multi", "nested": "kvm"}.get(config.accel, config.accel)
        return ["-accel", accel, "-serial", "stdio"]
    return ["-accel", "tcg", "-icount", "shift=0,sleep=off", "-rtc", "base=2026-01-01,clock=vm",
            "-seed", str(seed_of(config.cmdline)), "-serial", "stdio" if interactive else f"file:{folder}/serial"]


def fw_cfg(config, folder, there=None):
    """The arguments for what the kernel takes from fw_cfg, its command line and a program: in files, which take any byte,
    as an argument does not. `there`: where QEMU runs, if that is not here, {a file's name: its name here}; it gets
    these."""
    files = program.files(config, folder)
    if config.cmdline:
        files["cmdline"] = f"{folder}/cmdline"
        with open(files["cmdline"], "wb") as f:
            f.write(config.cmdline.encode("latin-1", "replace"))
    if there is not None:
        there |= {f"/{name}": path for name, path in files.items()}
        files = {name: f"/{name}" for name in files}
    return [word for name, path in files.items()
            for word in ("-fw_cfg", f"name=opt/quiesce/{name},file={path.replace(',', ',,')}")]


def command(config, folder, interactive=False):
    """QEMU's arguments; `folder` is private to this run."""
    if HYPERVISORS.get(config.accel) is xen:
        return xen.command(config, folder) + (fw_cfg(config, folder) if config.accel == xen.DOM0 else [])
    # The files that the machine uses: {name in L1, which has its own copies: name here}.
    l2 = config.accel == "nested"
    files = {"/quiesce.iso": machine.iso_of(config)}
    for_whom = ["-vga", "std"] if config.attended else ["-vga", "none", "-device", "isa-debug-exit,iobase=0xf4,iosize=0x4"]
    arguments = [QEMU, "-nodefaults", "-display", "none", *for_whom, "-no-reboot",
                 # reserve=off: a large memory needs only what is touched
                 "-object", f"memory-backend-ram,id=ram,size={config.mem},reserve=off", "-m", config.mem,
                 "-machine", f"{config.machine},memory-backend=ram", "-cpu", cpu_model(config), "-smp", str(config.smp),
                 *(("-kernel", elf_of(config)) if config.firmware == "pvh" else
                   ("-cdrom", "/quiesce.iso" if l2 else machine.iso_of(config))),
                 *execution(config, folder, interactive)]
    arguments += fw_cfg(config, folder, files if l2 else None)
    if config.firmware == "uefi":
        code, variables = firmware_files(config)
        private = f"{folder}/vars.fd"  # the firmware writes to it
        shutil.copyfile(variables, private)
        files |= {"/code.fd": code, "/vars.fd": private}
        if l2:
            code, private = "/code.fd", "/vars.fd"
        arguments += ["-drive", f"if=pflash,format=raw,readonly=on,file={code}",
                      "-drive", f"if=pflash,format=raw,file={private}"]
    if not l2:
        return arguments + list(config.extra)
    return nested.command(arguments, files, config.mem, folder)


def protocol(name, **arguments):
    """A command for QEMU's machine protocol (-qmp), to be sent as JSON."""
    return {"execute": name, "arguments": arguments}


def elf_of(config):
    return config.elf or machine.iso_of(config).replace(".iso", ".elf")


def sentence_of(status, lines, why):
    """`why`: why we ended the run, where the status is None."""
    said = next((line for line in reversed(lines) if line.startswith("quiesce: exit ")), None)
    last = machine.last_said(lines)
    if status is None:
        return machine.timed_out(lines, why)
    if exit_of(status) is not None:
        return machine.ended_with(exit_of(status))
    if status == 0 and said:
        return f"the machine powered off after \"{said}\", without isa-debug-exit"
    if status == 0:
        return f"the machine reset or powered off by itself (a triple fault?); it last said: {last}"
    if status == xen.NO_STATUS:
        return f"the domain shut down without a status (a triple fault?); it last said: {last}"
    if status < 0:
        return f"QEMU was ended by signal {-status}"
    return f"QEMU failed with status {status}; it last said: {last}"


def serial_lines(process, config, folder):
    """The lines of the serial port as they come, raw; what QEMU itself says is among them, or behind them."""
    if config.accel == "icount" and process.stdout:
        yield from follow(process, f"{folder}/serial")
    for line in process.stdout or ():
        if config.accel != xen.DOM0 or xen.INVARIANT_TSC not in line:
            yield line


def follow(process, path):
    """The lines of a file that the process writes, until it has ended."""
    with open(path, "rb") as serial:
        rest, ended = b"", False
        while not ended:
            ended = process.poll() is not None  # asked first: what is read after its end is all there will be
            *lines, rest = (rest + serial.read()).split(b"\n")
            yield from lines
            if not ended:
                time.sleep(0.05)
        if rest:
            yield rest


def run_once(config, on_line, interactive):
    with tempfile.TemporaryDirectory(prefix="quiesce-") as folder:
        inner = HYPERVISORS.get(config.accel)
        talks = {"QEMU": (f"{folder}/monitor", stuck.monitor)} | (inner.talks(folder) if inner else {})
        arguments = command(config, folder, interactive) + ["-monitor", f"unix:{folder}/monitor,server=on,wait=off"]
        open(f"{folder}/serial", "wb").close()
        start, lines, found = time.monotonic(), [], []
        stdin = program.Input(config)
        process = subprocess.Popen(arguments, stdin=None if interactive else stdin.of_qemu,
                                   stdout=None if interactive else subprocess.PIPE,
                                   stderr=None if interactive else subprocess.STDOUT)

        def end():
            try:
                found.extend(stuck.evidence(process.pid, talks, elf_of(config)))
            except Exception as error:  # whatever it is: the run is ended, and judged without evidence
                found.append(f"# stuck: no evidence could be taken: {error!r}")
            finally:
                process.kill()

        try:
            with patience.Watch(process, end, **machine.limits(config, interactive)) as watch:
                for raw in patience.drained(serial_lines(process, config, folder)):
                    line = machine.clean(raw)
                    if not line and not lines:
                        continue
                    lines.append(line)
                    stdin.line(line, process)
                    if on_line:
                        on_line(line)
                status = process.wait()
        finally:
            if process.poll() is None:  # interrupted from the keyboard
                process.kill()
                process.wait()
        status, said = None if watch.why else status, list(lines)
        seen = inner.outcome(folder) if inner else None
        found += [f"# stuck: {inner.WHOSE}: {line}" for line in seen.troubles] if seen else []
        for line in found:
            lines.append(line)
            if on_line:
                on_line(line)
        ended, note = seen.verdict(status) if seen else (status, "")
        if seen and not note and on_line and (counted := seen.line()):
            on_line(counted)
        sentence = sentence_of(status if note else ended, said, watch.why) + note
        return Result(exit_of(ended), sentence, lines, time.monotonic() - start, seen.counts if seen and not note else {})


def broken_emulation(lines):
    """ACCEL=nested: what shows that QEMU has failed, and not the guest. None if nothing shows that, or if the guest
    itself has failed a test, found a violation, or panicked."""
    if any(GUEST_FAILED.match(line) for line in lines):
        return None
    if line := next((line for line in lines if nested.ASSERTION.search(line)), None):
        return f"QEMU has failed an assertion ({line})"
    if line := stuck.lost_guest(lines):
        return f"QEMU has put L1's registers in the place of L2's ({line})"
    if line := stuck.lost_and_shut_down(lines):
        return f"QEMU has put L1's registers in the place of L2's, which then shut down ({line})"
    if line := stuck.lost_interrupt(lines):
        return f"QEMU has lost an interrupt of L1, which halts and waits for it ({line})"
    if line := stuck.locked_up(lines):
        return f"L1's kernel, which is Debian's, is stuck ({line})"
    return None


def run(config, on_line=None, interactive=False):
    """Boot once (machine.run()). QEMU's emulation of AMD's virtualisation has bugs that do not come from the guest: now
    and then it fails an assertion, or loses the guest's registers, or an interrupt or changed code of L1
    (docs/nested.md). Such a run says nothing about the guest; only such a run is made again, once."""
    result = run_once(config, on_line, interactive)
    if config.accel == "nested" and not result.ok and (why := broken_emulation(result.lines)):
        if on_line:
            on_line(f"# nested: {why}, so the run is made again")
        result = run_once(config, on_line, interactive)
    return result
