// SPDX-License-Identifier: MIT
// The machine under a fuzzer, in place of arch/host/machine.c: libFuzzer owns main(). What the kernel prints is kept,
// and shown only when the kernel exits, which is a crash for libFuzzer.
#include <stdio.h>
#include <stdlib.h>
#include "kernel/cmdline.h"
#include "kernel/cpumask.h"
#include "kernel/lib.h"
#include "kernel/panic.h"
#include <arch/irq.h>
#include <arch/machine.h>
#include "arch/host/host.h"
#include "arch/host/os.h"
#include "tests/fuzz/fuzz.h"

#define FUZZ_MEM (256ull << 20)

static const char *line = "";	// the command line
static char said[16384];
static size_t said_len;

void arch_console_write(const char *s, size_t n)
{
	if (said_len + n > sizeof(said))
		said_len = 0;
	n = MIN(n, sizeof(said));
	memcpy(said + said_len, s, n);
	said_len += n;
}

bool arch_console_pending(void) { return false; }
void arch_console_push(void) { }
void arch_console_drain(u64 patience_ns) { }
int arch_console_getc(void) { return -1; }
bool arch_random64(u64 *v) { return false; }	// a run depends on its seed

void fuzz_forget_console(void) { said_len = 0; }

void arch_exit(int status)
{
	fprintf(stderr, "%.*s", (int)said_len, said);
	abort();
}

void arch_halt_forever(void)
{
	for (;;)
		os_sleep_until(~0ull >> 1);
}

const char *arch_cmdline_boot(void) { return ""; }
const char *arch_cmdline_override(void) { return line; }
size_t arch_cmdline_override_len(void) { return strlen(line); }
const void *arch_program(u64 *size)
{
	*size = 0;
	return NULL;
}

const char *arch_program_error(void) { return NULL; }
const char *arch_program_args(void) { return ""; }
const char *arch_firmware(void) { return "host"; }
const char *arch_hypervisor(void) { return "host"; }
const char *arch_apic_mode(void) { return "none"; }
void arch_init_early(void) { }
void arch_init_platform(void) { nr_cpus = 1; }

static void boot(void *unused)
{
	host_percpu_boot();
	host_ram_init(FUZZ_MEM);
	host_symbols_init();
	host_timer_init();
	kernel_main();
}

void fuzz_boot(const char *cmdline)
{
	line = cmdline;
	os_thread(boot, NULL);
}
