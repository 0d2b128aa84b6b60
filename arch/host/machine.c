// SPDX-License-Identifier: MIT
// The machine as a whole: the program's arguments, console, exit; and main().
//
//   quiesce-host [mem=MiB] [map=absurd|pieces] [sched=random|pct] [depth=N] [pauses=MS] [mutant=NAME]
//		[program=FILE] [args=LINE] [KEY=VALUE …]
//
// mem=, map=, sched=, depth=, pauses= (steps.h, which uses seed=, too), mutant=, which takes that step out for the
// whole run, program= and args= (proc/args.h) are this program's own. The rest is the kernel's command line, and the
// kernel checks it.
#include "kernel/cmdline.h"
#include "kernel/cpumask.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/panic.h"
#include "lab/mutant.h"
#include <arch/irq.h>
#include <arch/machine.h>
#include "arch/host/host.h"
#include "arch/host/os.h"
#include "arch/host/steps.h"

#define CPUS_DEFAULT 4
#define MEM_DEFAULT 512
#define MEM_MIN 32
#define MEM_MAX 65536

static char line[1024];
static const void *program;
static size_t program_size;
static const char *program_args = "";

void arch_console_write(const char *s, size_t n) { os_write(s, n); }
bool arch_console_pending(void) { return false; }
void arch_console_push(void) { }
void arch_console_drain(u64 patience_ns) { }
int arch_console_getc(void) { return os_getc(); }
bool arch_random64(u64 *v) { return false; }	// a run depends on its seed

void arch_exit(int status)
{
	if (steps_on)
		steps_report();
	os_exit(status);
}

void arch_halt_forever(void)
{
	irq_disable();
	for (;;)
		cpu_relax();
}

const char *arch_cmdline_boot(void) { return ""; }
const char *arch_cmdline_override(void) { return line; }
size_t arch_cmdline_override_len(void) { return strlen(line); }
const void *arch_program(u64 *size)
{
	*size = program_size;
	return program;
}

const char *arch_program_error(void) { return NULL; }	// such an error ends the process earlier
const char *arch_program_args(void) { return program_args; }
const char *arch_firmware(void) { return "host"; }
const char *arch_hypervisor(void) { return "host"; }
const char *arch_apic_mode(void) { return "none"; }

void arch_init_early(void) { }	// main() has done it
void arch_init_platform(void) { nr_cpus = opt_cpus ? MIN(opt_cpus, (u32)NR_CPUS) : CPUS_DEFAULT; }

static _Noreturn void usage(const char *why, const char *arg)
{
	char text[256];

	os_write(text, MIN((size_t)ksnprintf(text, sizeof(text), "quiesce-host: %s: %s\n", why, arg), sizeof(text) - 1));
	os_exit(EXIT_BAD_INPUT);
}

static void fault(int sig, uintptr_t pc, uintptr_t addr, uintptr_t fp)
{
	u64 offset = 0;
	const char *name = symbol_name(pc, &offset);

	host_this(host_irq)->fault = fp;
	host_this(host_irq)->enabled = 0;
	panic("signal %d at %s+0x%llx, address 0x%llx", sig, name, (unsigned long long)offset, (unsigned long long)addr);
}

static void set_mutant(const char *arg)
{
	if (!mutant_always(arg + strlen("mutant=")))
		usage("no such mutant", arg);
}

static void set_program(const char *path)
{
	program = os_map_file(path, &program_size);
	if (!program)
		usage("cannot be read", path);
}

// One of the program's own; false: it is for the kernel.
static bool own_argument(const char *arg, u64 *mem)
{
	const char *wrong;

	if (!strncmp(arg, "mem=", 4)) {
		if (!parse_u64(arg + 4, mem) || *mem < MEM_MIN || *mem > MEM_MAX)
			usage("mem= is 32 … 65536 MiB", arg);
		return true;
	}
	if (!strncmp(arg, "map=", 4)) {
		host_map = !strcmp(arg + 4, "absurd") ? MAP_ABSURD : !strcmp(arg + 4, "pieces") ? MAP_PIECES : MAP_PLAIN;
		if (host_map == MAP_PLAIN)
			usage("map= is absurd or pieces", arg);
		return true;
	}
	if (!strncmp(arg, "mutant=", 7)) {
		set_mutant(arg);
		return true;
	}
	if (!strncmp(arg, "program=", 8)) {
		set_program(arg + 8);
		return true;
	}
	if (!strncmp(arg, "args=", 5)) {
		program_args = arg + 5;
		return true;
	}
	if (!steps_argument(arg, &wrong))
		return false;
	if (wrong)
		usage(wrong, arg);
	return true;
}

int main(int argc, char **argv)
{
	u64 mem = MEM_DEFAULT;
	size_t len = 0;

	for (int i = 1; i < argc; i++) {
		if (own_argument(argv[i], &mem))
			continue;
		if (len + strlen(argv[i]) + 2 > sizeof(line))
			usage("too long", argv[i]);
		len += (size_t)ksnprintf(line + len, sizeof(line) - len, "%s%s", len ? " " : "", argv[i]);
	}
	host_percpu_boot();
	if (steps_on)
		steps_init();
	host_ram_init(mem << 20);
	host_symbols_init();
	host_timer_init();
	os_catch_faults(fault);
	arch_init_early();
	kernel_main();
}
