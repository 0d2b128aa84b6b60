# SPDX-License-Identifier: MIT
"""What `make test` runs, as a table: which machine, which tests, about how long it takes, and how it must end."""
import dataclasses
import os
import re
import sys

import acpitables
import axes
import grubcases
import machine
import nested
import programcases
import pvhcases
import results
from comparison import names, pair_of


@dataclasses.dataclass
class Run:
    name: str
    seconds: int                   # about, of the whole run: for the estimate of the time left, and for limit()
    config: machine.Config = None  # None: `command`, which prints KTAP on the host
    command: tuple = ()
    acpi: str = ""                 # boots with these tables (acpitables.CASES)
    grub: str = ""                 # GRUB is given these commands (grubcases.CASES)
    pvh: str = ""                  # the PVH entry is given this start_info (pvhcases.CASES)
    program: str = ""              # a program is passed (programcases.CASES)
    status: int = 0                # the kernel's exit status that is right
    ktap: bool = True              # it reports tests; otherwise the whole run is one test
    says: tuple = ()               # each must be part of some line of the serial log
    first_line: bool = True        # it comes so far that it prints one
    finds: callable = None         # what is wrong with the serial log's lines, as sentences
    budget: int = 0                # of processor time (limit()); default: a multiple of `seconds`
    light: bool = False            # one CPU's work, or it waits often: may run beside another light one

    def limit(self):
        """Seconds of processor time for each CPU of the host (patience.py). On an idle host a run takes about
        `seconds`, so it uses no more processor time than that. A busy host makes it wait, and waiting does not
        count."""
        return self.budget or max(120, 6 * self.seconds)


def boot(name, seconds, tests="*", keys="", budget=0, light=False, **options):
    config = machine.Config(cmdline=f"mode=test test={tests}{keys}", **options)
    return Run(name, seconds, config, budget=budget, light=light)


def saying(run, *says):
    run.says += says
    return run


def judged_by(run, finds):
    run.finds = finds
    return run


def refused(name, cmdline, *says, accel="tcg"):
    """A command line that must end the run with status 2 and a named error."""
    return Run(name, 3, machine.Config(smp=2, cmdline=cmdline, accel=accel), status=2, ktap=False, says=says, light=True)


def xen_torture(steal, policy, flush):
    return whole(f"xen-torture-{steal}", 10, f"mode=torture seconds=4 table_free={policy} tlb_flush={flush} steal={steal}",
                 *TORTURE_CLEAN, smp=4, accel="xen", light=True)


def whole(name, seconds, cmdline, *says, status=0, light=False, **options):
    """A run without KTAP that must end with that status, and whose lines must have each of `says` in them."""
    return Run(name, seconds, machine.Config(cmdline=cmdline, **options), status=status, ktap=False, says=says,
               light=light)


def broken_acpi(case, cpus, *says, firmware="bios", cpu=""):
    config = machine.Config(smp=4, machine="q35,acpi=off", firmware=firmware, cpu=cpu, cmdline="mode=test test=smoke")
    return Run(f"acpi-{case}", 3, config, acpi=case, says=(f" cpus={cpus} ",) + says, light=True)


def grub(case, *says, tests="smoke", keys=""):
    run = boot(f"grub-{case}", 3, tests, keys, smp=2, light=True)
    run.grub, run.says = case, says
    return run


# The PVH entry: QEMU's -kernel, which is what Xen, Firecracker and Cloud Hypervisor look like to a guest. A microvm has
# neither HPET nor PM timer nor PCI.
PVH_SUITES = "smoke,time,xcall,kmap,stray,memmap,start_info,acpi,rcu"


def pvh(case):
    about = pvhcases.CASES[case]
    config = machine.Config(smp=2, firmware="pvh", machine=about.board)
    return Run(f"pvh-{case}", 1, config, pvh=case, status=about.status, ktap=about.status == 0, says=about.says,
               first_line=about.status == 0, light=True)


def program(case):
    about = programcases.CASES[case]
    run = boot(f"program-{case}", 3, "program,memmap", smp=2, mem=about.mem, light=True,
               firmware="pvh" if about.way == "initrd" else "bios")
    run.program = case
    return run


# The CPU model max has x2APIC under TCG since QEMU 9, qemu64 has not, so that both are always tried; under ACCEL=icount
# there is none (qemu.cpu_model()).
XAPIC, X2APIC = "apic=xapic", "apic=x2apic"

# What only Bochs has: TSC deadlines, translations that stay until they are invalidated, global ones too; and x2APIC. It
# is slow, hence neither all suites nor many CPUs. With SMAP (Ice Lake) no stale user translation can be seen (bochs.py),
# so that model runs only suites that need to see none.
BOCHS_SAYS = (X2APIC, "clock=tsc-deadline+hpet", "global translations outlive a reload of the root")
BOCHS_SMAP = "smoke,kmap,uaccess,time,sched,lock,policy,rcu,walk"
BOCHS_2 = "smoke,stray,kmap,uaccess,time,xcall,stale,rcu,walk"
BOCHS_4 = "smoke,kmap,xcall,stale,rcu,walk,history,flush_*,policy*,steal,stolen,adversary*"


def bochs(name, seconds, tests, **options):
    run = boot(name, seconds, tests, emulator="bochs", **options)
    run.says = BOCHS_SAYS
    return run


# tests/kernel/log.c: longer than one kprintf(), while another CPU prints.
LONG_LINES = tuple(f"# log: long line {number} {'x' * 5096} ends" for number in (1, 2))
MANY_CPUS = "smoke,scale,xcall,rcu,stale"  # with 64 CPUs on a few cores: boot, calls, RCU, shootdown
# Suites that depend on the hypervisor. Left out are tests whose controls must show a race or a stale translation,
# because a hypervisor may hide both; and tests that do not depend on how the CPUs are executed (lib, slab, ...),
# because a KVM that is itself nested may be extremely slow.
WITH_HYPERVISOR = "smoke,stray,nested,steal.hyp*,stolen.pv_l*"
# Left out are suites that need the thief, and the controls that take longest, because under Xen they show nothing.
UNDER_XEN = "smoke,nested,traps,start_info,time.c*,xcall,rcu,walk,flush_*,policy,steal,stale.*m,stale.*k"
KVM_SUITES = f"{WITH_HYPERVISOR},policy,xcall,space.p*,space.t*,space.e*,walk.c*,walk.h*,walk.r*,walk.ip*,walk.t*"
TORTURE_CLEAN = ("torture: 0 violations, ", " 0 unbalanced rounds, 0 frames leaked")
# One worker hangs on purpose. The watchdog must report the hang, and name the worker and the place.
TORTURE_HANGS = ("# PANIC: torture: hang: ", " in a hang on purpose", " hang_now+")

EVERYWHERE = {"ipi", "lazy", "nmi", "pv"}  # back-ends that need nothing of the machine
NOT_TO_BE_HAD = re.compile(r"# INFO: tlb_flush=(\S+) is not to be had: ")


def verdict_errors(lines):
    """mode=compare: every policy of mm/policy/ is judged with every back-end of mm/flush/ that the machine has. Each
    pair is claimed to be what the fields of both say, is found so, and is in the short table with that finding."""
    policies, backends = axes.policies(), axes.backends()
    lacking = {match[1] for line in lines if (match := NOT_TO_BE_HAD.match(line))}
    want = {(p, b): ("safe", "clean") if axes.is_safe(policies[p], backends[b]) else ("unsafe", "violated")
            for p in policies for b in backends if b not in lacking}
    have = {pair_of(v): (v["claimed"], v["found"]) for run in results.parse(lines) for v in run.verdicts}
    rows = {words[1]: sorted(words[2:]) for words in map(str.split, lines) if words[:1] == ["#"] and len(words) > 2}
    wrong = [f"tlb_flush={name} is not to be had" for name in sorted(lacking & EVERYWHERE)]
    if unjudged := want.keys() - have.keys():
        wrong.append(f"no verdict on {names(sorted(unjudged))}")
    wrong += [f"{' + '.join(pair)}: {', '.join(have[pair])}, not {', '.join(want.get(pair, ['a pair of the tree']))}"
              for pair in sorted(have) if have[pair] != want.get(pair)]
    return wrong or [f"not in the short table: {policy}, {', '.join(found)}" for policy in policies if
                     rows.get(policy) != (found := sorted(f for pair, (_, f) in want.items() if pair[0] == policy))]


BEYOND_1T = ("-global", "q35-pcihost.pci-hole64-size=1020G")  # puts the RAM above 4 GiB there

COUNTED = "walk*,unmap_page,unmap_512,protect_page,map_*"  # what the report's picture shows, and little more

MATRIX = [
    Run("tools", 8, command=(sys.executable, "tools/selftests", "tools"), light=True),
    Run("deps", 4, command=(sys.executable, "tools/selftests", "deps"), light=True),
    Run("results", 1, command=(sys.executable, "tools/selftests", "results"), light=True),
    Run("stats", 5, command=(sys.executable, "tools/selftests", "stats"), light=True),
    Run("end", 25, command=(sys.executable, "tools/selftests", "end"), light=True),
    Run("sweep", 15, command=(sys.executable, "tools/selftests", "sweep"), light=True),
    Run("events", 1, command=(sys.executable, "tools/selftests", "events"), light=True),
    Run("budgets-tool", 1, command=(sys.executable, "tools/selftests", "budgets"), light=True),
    Run("budgets", 20, command=(sys.executable, "tools/budgets.py", "check"), light=True),
    Run("targets", 2, command=(sys.executable, "tools/selftests", "targets"), light=True),
    Run("summary", 1, command=(sys.executable, "tools/selftests", "summary"), light=True),
    Run("pictures", 4, command=(sys.executable, "tools/selftests", "pictures"), light=True),
    Run("findings", 8, command=(sys.executable, "tools/selftests", "findings"), light=True),
    Run("console", 10, command=(sys.executable, "tools/selftests", "console"), light=True),
    Run("screen", 15, command=(sys.executable, "tools/selftests", "screen"), light=True),
    Run("trace-tools", 1, command=(sys.executable, "tools/selftests", "trace"), light=True),
    Run("xen-tools", 2, command=(sys.executable, "tools/selftests", "xen"), light=True),
    Run("docs", 1, command=(sys.executable, "tools/selftests", "docs"), light=True),
    Run("reference", 1, command=(sys.executable, "tools/selftests", "reference"), light=True),
    Run("onefile", 60, command=(sys.executable, "tools/selftests", "onefile"), budget=900, light=True),
    Run("checks", 1, command=(sys.executable, "tools/checks.py")),
    Run("host", 60, command=("make", "--no-print-directory", f"-j{os.cpu_count()}", "host-test"), budget=900),
    Run("hosted", 80, command=(sys.executable, "tools/hosted.py", "quick"), budget=900),
    Run("fuzz", 75, command=("make", "--no-print-directory", "fuzz-test"), budget=900),
    Run("models", 50, command=(sys.executable, "tools/models.py", "--quick", "--ktap"), budget=900),
    Run("mutants", 60, command=(sys.executable, "tools/mutants.py", "--quick", "--ktap"), budget=900),
    Run("contributing", 60, command=(sys.executable, "tools/selftests", "contributing"), budget=900),
    saying(boot("smp4-uefi-q35-max", 90, smp=4, firmware="uefi"), *LONG_LINES),
    boot("smp8-bios-q35-max", 120, smp=8),
    boot("smp4-release", 60, smp=4, build="release"),
    boot("smp4-seed2-4g", 90, smp=4, mem="4G", keys=" seed=2"),
    whole("torture-smp8", 35, "mode=torture seconds=25", *TORTURE_CLEAN, smp=8),
    judged_by(whole("verdicts", 50, "mode=compare seconds=40", "# Every claim was confirmed", smp=4), verdict_errors),
    whole("times", 45, "mode=compare seconds=20", "BENCH {", '"name":"unmap_stolen"', '"unit":"cycles"',
          "# policy            walk unmap alone      shared", "# Medians in cycles, with tlb_flush=ipi", smp=2,
          build="release"),
    whole("instructions", 15, f"mode=bench bench={COUNTED} seconds=1 allow_unsafe=1", '"unit":"instructions"', '"usual":',
          smp=1, build="release", accel="icount"),
    Run("icount", 55, command=(sys.executable, "tools/selftests", "icount")),
    Run("table", 4, command=(sys.executable, "tools/checks.py", "logs")),
    whole("trace", 15, "mode=trace seconds=5", "HEADER {", '"scene":"unmap_robbed"', '"scene":"switch"', smp=2, build="release"),
    Run("trace-log", 1, command=(sys.executable, "tools/selftests", "trace", "log")),
    Run("reference-log", 8, command=(sys.executable, "tools/selftests", "reference", "logs")),
    boot("all-pairs", 30, "switch_load,stolen.no_safe*", keys=" seconds=30", smp=4),
    Run("programs", 45, command=(sys.executable, "tools/programs.py"), budget=900),
    Run("programs-pairs", 20, command=(sys.executable, "tools/programs.py", "pairs"), budget=900),
    Run("programs-tool", 1, command=(sys.executable, "tools/selftests", "programs"), light=True),
    boot("smp64-q35", 240, MANY_CPUS, smp=64, mem="1G"),
    boot("smp255-q35", 60, "smoke,scale", smp=255, mem="1G"),
    whole("torture-smp255", 20, "mode=torture seconds=3", *TORTURE_CLEAN, smp=255, mem="1G"),
    # Light runs from here on. Under KVM most work is done by the host's kernel, on one CPU; it takes longest, so it
    # comes first.
    boot("kvm", 180, KVM_SUITES, smp=4, accel="kvm", budget=1500, light=True),
    boot("kvm-hyperv", 20, "nested,hyperv", smp=4, accel="kvm", cpu="hyperv", budget=1500, light=True),
    Run("report", 60, command=(sys.executable, "tools/selftests", "report"), budget=900, light=True),
    Run("tutorial", 30, command=(sys.executable, "tools/selftests", "tutorial"), budget=900, light=True),
    boot("nested-kvm", 25, WITH_HYPERVISOR, smp=4, accel="nested", light=True),
    boot("nested-hyperv", 30, "nested,hyperv", smp=4, accel="nested", cpu="hyperv", light=True),
    # Not mode=compare: all pairs take longer than they are worth here, and a busy host may leave one without evidence.
    whole("nested-torture", 20, "mode=torture seconds=6 table_free=rcu tlb_flush=pv", *TORTURE_CLEAN, smp=4,
          accel="nested", light=True),
    saying(boot("xen", 25, UNDER_XEN, smp=4, accel="xen", light=True), "hypervisor=xen", "# INFO: steal=xen"),
    saying(boot("xen-domu", 25, "nested", smp=4, accel="xen-domu", light=True), "hypervisor=xen", "# INFO: steal=xen"),
    saying(boot("xen-domu-hyperv", 20, "nested.hyperv*,nested.totals,hyperv", smp=4, accel="xen-domu", cpu="hyperv",
                light=True), "hypervisor=xen"),
    xen_torture("xen", "rcu", "xen"),
    xen_torture("none", "hazard", "xen"),
    xen_torture("thief", "rcu-page", "nmi"),
    refused("xen-domu-pv", "mode=test test=smoke tlb_flush=pv", "hypervisor=xen", "tlb_flush=pv is refused: steal=xen",
            accel="xen-domu"),
    saying(boot("smp2-bios-pc-max", 60, smp=2, machine="pc", light=True), *LONG_LINES),
    saying(boot("smp2-uefi-pc-qemu64", 60, smp=2, firmware="uefi", machine="pc", cpu="qemu64", light=True), XAPIC),
    whole("verdicts-smp1", 15, "mode=compare seconds=5", '"found":"inconclusive"', smp=1, light=True),
    whole("panic", 3, "mode=crash trace=*", "# PANIC: page fault", "rip ffffffff", " crash_here", "crash_bystander+",
          "thread bystander", "CPU 0, its last events of ", " us ago: quiescent i 0x", status=3, smp=4, light=True),
    whole("torture-hang-irqs-off", 10, "mode=torture seconds=60 watchdog=2 hang=irqs-off", *TORTURE_HANGS,
          "holds lock 'torture hang'", status=3, smp=4, light=True),
    whole("torture-hang-asleep", 10, "mode=torture seconds=60 watchdog=2 hang=asleep", *TORTURE_HANGS,
          " wait_for_completion+", status=3, smp=4, light=True),
    # It ends as soon as the oracle has reported a violation.
    whole("torture-bug-of-2012", 8, "mode=torture seconds=120 table_free=ipi tlb_flush=pv allow_unsafe=1",
          "torture: ipi+pv violated, as claimed, after", smp=8, light=True),
    bochs("bochs-smp1-icelake", 25, BOCHS_SMAP, smp=1, cpu="corei7_icelake_u", light=True),
    bochs("bochs-smp2", 30, BOCHS_2, smp=2, light=True),
    bochs("bochs-smp4", 40, BOCHS_4, smp=4, light=True),
    whole("bochs-panic", 5, "mode=crash", "# PANIC: page fault", " crash_here", "crash_bystander+", status=3, smp=2,
          emulator="bochs", light=True),
    saying(boot("smp1-bios-q35-qemu64", 60, smp=1, cpu="qemu64", light=True), XAPIC),
    saying(boot("x2apic", 8, "smoke,time,xcall", smp=4, cpu="max,+x2apic,enforce", light=True), X2APIC),
    saying(boot("microvm", 12, f"{PVH_SUITES},walk", smp=4, machine="microvm", firmware="pvh", light=True), "clock=apic+pit"),
    # A clock that is not there is not waited for.
    judged_by(saying(boot("microvm-no-pit", 2, "smoke", smp=2, machine="microvm,pit=off", firmware="pvh", light=True),
                     "clock: no reference"), lambda lines: [line for line in lines if "count as it should" in line]),
    boot("pvh-q35", 6, PVH_SUITES, smp=4, firmware="pvh", light=True),
    # The command line and a module from QEMU itself, no fw_cfg: docs/boot.md.
    whole("pvh-quick-start", 3, "", " 0 failed", " firmware=pvh ", smp=2, machine="pc", firmware="pvh", build="release",
          extra=("-append", "mode=test test=smoke,memmap", "-initrd", "README.md"), light=True),
    boot("mem-64m", 4, "smoke", smp=2, mem="64M", light=True),
    boot("mem-8g", 4, "smoke", smp=2, mem="8G", light=True),
    boot("mem-32g", 4, "smoke", smp=2, mem="32G", light=True),
    saying(boot("mem-beyond-1t", 6, "smoke,kmap.p*,page.d*,walk.ent*,walk.garb*", smp=2, mem="5G",
                cpu="EPYC,phys-bits=48", extra=BEYOND_1T, light=True), " mem=5119M "),
    boot("mem-32g-qemu64-uefi", 8, "smoke", smp=2, mem="32G", cpu="qemu64", firmware="uefi", light=True),
    boot("cpus-limited", 4, "smoke", smp=4, keys=" cpus=3", light=True),
    boot("hz-1000", 4, "smoke", smp=2, keys=" hz=1000", light=True),
    boot("policy-ipi", 4, "smoke", smp=2, keys=" table_free=ipi tlb_flush=ipi", light=True),
    refused("bad-policy", "table_free=bogus", "table_free=bogus", "immediate", "rcu"),
    refused("bad-flush", "tlb_flush=bogus", "tlb_flush=bogus", "ipi"),
    refused("no-hyperv", "tlb_flush=hyperv", "tlb_flush=hyperv", "no guest of Hyper-V"),
    refused("unsafe-pair", "mode=test test=smoke table_free=immediate", "immediate", "allow_unsafe"),
    refused("unsafe-pv", "table_free=ipi tlb_flush=pv", "table_free=ipi with tlb_flush=pv is refused: unsafe, since"),
    refused("unsafe-nmi", "tlb_flush=nmi table_free=ipi", "table_free=ipi with tlb_flush=nmi is refused: unsafe, since"),
    refused("no-kvm", "steal=kvm", "steal=kvm", "KVM"),
    refused("bad-steal", "steal=bogus", "steal=bogus", "none|thief|kvm"),
    refused("no-owner", "tlb_flush=pv steal=none", "tlb_flush=pv is refused: with steal=none"),
    refused("bad-pending", "pending_max=1", "pending_max=1"),
    refused("owner-before-flush", "steal=none tlb_flush=pv", "tlb_flush=pv is refused: with steal=none"),
    refused("bad-key", "bogus=1", 'unknown key "bogus"', "mode="),
    refused("bad-mode", "mode=bogus", "mode=bogus", "mode=test"),
    refused("twice", "mode=test mode=test", "mode= is given twice"),
    refused("no-equals", "mode=test test", "is no key=value"),
    refused("no-such-test", "mode=test test=nonesuch", "matches no test", "test=smoke"),
    refused("bad-hz", "hz=99999", "hz=99999"),
    refused("control-characters", "mode=test\x07test=smoke", "character 0x07 at column 10"),
    refused("zero", "mode=test\0tlb_flush=nonsense", "command line (fw_cfg): character 0x00 at column 10"),
    refused("overlong", "mode=test test=smoke".ljust(2000), "longer than 1024 characters"),
    broken_acpi("sparse", 3),
    broken_acpi("bad-checksum", 1, "acpi"),
    broken_acpi("entry-length-0", 1, "acpi"),
    broken_acpi("entry-beyond-end", 1, "acpi"),
    broken_acpi("table-length-huge", 1, "acpi"),
    broken_acpi("table-length-short", 1, "acpi"),
    broken_acpi("registers-in-ram", 2, "acpi: MADT: I/O APIC at 0x110000 lies in the kernel's image: left out",
                "acpi: MADT: I/O APIC at 0x1000000 lies in RAM: left out", "acpi: HPET: timer at 0x1001000 lies in RAM",
                "the MADT says 0x1234000, the processor says 0xfee00000 and is believed",
                cpu="qemu64"),  # an x2APIC has no address
    broken_acpi("none", 1, "acpi", firmware="uefi"),  # SeaBIOS would make tables of its own
    grub("trampoline-moves", " cpus=2 ", "by the trampoline at 0x57000;", keys=" loglevel=debug"),
    grub("image-not-in-map", " cpus=1 ", "# WARN: memory map: the image, 0x100000 to ",
         "# WARN: smp: no usable page below 640 KiB"),
    grub("interrupts-left", " cpus=2 ", "apic: CPU 0: left in service, now acknowledged: 0x69 0x73",
         "apic: CPU 0: left requested: 0x13 0x68 0xd1 0xf1 0xfe 0xff", "8259: left requested 0x1, in service 0x1",
         "irq: CPU 0: stray interrupt, vector 0x68; not named again", tests="smoke,stray"),
    *map(pvh, pvhcases.CASES),
    *map(program, programcases.CASES),
]

XEN = ("xen", "xen-domu")
COUNTED_BY = ("nested", "xen-domu")  # ACCEL=: the hypervisor's side counts what the guest asks it for

# Expected skips: the reason, and for which configurations it is right. Any other skip fails the run.
EXPECTED_SKIPS = [
    ("needs 2 CPUs", lambda c: c.smp < 2),
    ("needs 4 CPUs", lambda c: c.smp < 4),
    ("needs a checking build", lambda c: c.build == "release"),
    ("needs a free 1 GiB frame", lambda c: c.mem not in ("4G", "8G", "32G")),
    ("the thief does not own the steal-time records", lambda c: c.accel in ("kvm", "nested", *XEN)),
    ("needs a hypervisor that keeps steal-time records", lambda c: c.accel in ("tcg", "icount", "kvm", *XEN)),
    ("needs Xen's flush hypercall", lambda c: c.accel not in XEN),
    ("nobody owns the steal-time records", lambda c: c.accel in XEN),
    ("the hypervisor has dropped what would have been stale without a flush", lambda c: c.accel in XEN),
    ("under Xen inside QEMU an interrupt that the TPR holds back stops its CPU", lambda c: c.accel in XEN),
    ("the local APIC does not show what is in service", lambda c: c.accel == "kvm"),
    ("the hypervisor marks no CPU that it preempts in the middle of its work", lambda c: c.accel == "kvm"),
    ("needs Hyper-V's flush hypercalls", lambda c: c.cpu != "hyperv"),
    ("takes longer: runs where seconds= is given", lambda c: "seconds=" not in c.cmdline),
    ("takes seconds", lambda c: "test=smoke" in c.cmdline.split()),
    ("the CPU has no 1 GiB pages", lambda c: c.cpu == "qemu64"),
]
TUTORIAL_DONE = "the policy of docs/tutorial.md is in this tree already"
HOST_SKIPS = ("takes longer: runs where seconds= is given",
              "the host kernel maps this process", "needs a free 1 GiB frame",
              "needs a hypervisor that keeps steal-time records", "needs Hyper-V's flush hypercalls",
              "needs Xen's flush hypercall",
              "needs hardware: the host build has no TLB", "the host build does not meter interrupts off",
              "only under sched=", TUTORIAL_DONE)
NO_BUDGETS = "no budgets for this compiler: "  # its name follows
NO_BUDGETS_OF = "no budgets for this policy: "
NO_TESTS_OF = "tools/mutants.py has no tests for the mutants of "
NO_MODEL = "has no model in tests/models/"  # after the policy's name, or the back-end's
NO_ROW_OF = "docs/reference.md has no row of "
HOST_SKIPS_OF = (machine.LACKS, NO_BUDGETS, NO_BUDGETS_OF, NO_TESTS_OF, NO_ROW_OF)


def skip_is_expected(run, reason):
    if run.config is None:
        return reason in HOST_SKIPS or reason.startswith(HOST_SKIPS_OF) or reason.endswith(NO_MODEL)
    return any(reason == text and when(run.config) for text, when in EXPECTED_SKIPS)


def counts_error(result):
    """ACCEL=nested and ACCEL=xen-domu: how what the guest says it did differs from what KVM or Xen has seen; None if they
    agree. Both sides count each hypercall. Several flushes may set the same flag, which KVM honours once."""
    if not (guest := machine.asked(result.lines)):
        return None
    at = next(i for i, line in enumerate(result.lines) if line.startswith(machine.ASKED))
    # The suites hyperv and stray flush nothing.
    if late := [line for line in result.lines[at:] if re.match(r"# \[\d+/\d+\] (?!hyperv\.|stray\.)", line)]:
        return f"run after nested.totals has counted: {', '.join(late)}"
    if "hvm_op" in result.counts:
        return xen_counts_error(guest, result.counts)
    calls = nested.seen(result.counts)["hypercalls"]
    honoured = result.counts.get(("kvm_pv_tlb_flush", 1), 0)
    if calls != guest["flush_hv_calls"]:
        return f"the guest made {guest['flush_hv_calls']} flush hypercalls, but KVM saw {calls}"
    if bool(honoured) != bool(guest["flush_pv_flagged"]) or honoured > guest["flush_pv_flagged"]:
        return f"the guest set {guest['flush_pv_flagged']} flush flags, but KVM honoured {honoured}"
    return None


def xen_counts_error(guest, counts):
    """Xen's trace has the number of each hypercall, and for Hyper-V's only that it was one. The guest calls hvm_op to
    flush and to ask for parameters, and Hyper-V's interface only to flush."""
    if counts["lost"]:
        return f"Xen's trace has lost {counts['lost']} records"
    for what, said, seen in (("hvm_op", "hvm_op", "hvm_op"), ("Hyper-V's flushes", "flush_hv_calls", "viridian")):
        if guest[said] != counts[seen]:
            return f"the guest made {guest[said]} hypercalls for {what}, but Xen saw {counts[seen]}"
    return None


def prepare(run, folder):
    """The settings that need a folder for files."""
    if run.acpi and run.acpi in acpitables.CASES:
        os.makedirs(folder, exist_ok=True)
        run.config.extra = acpitables.qemu_arguments(run.acpi, folder)
    if run.grub:
        run.config.extra = grubcases.qemu_arguments(run.grub, folder)
    if run.pvh:
        pvhcases.prepare(run.pvh, run.config, folder)
    if run.program:
        programcases.prepare(run.program, run.config, folder)
