// SPDX-License-Identifier: MIT
// The table of contents of the machine: how it comes up, and what it then does.
#include "kernel/banner.h"
#include "kernel/cmdline.h"
#include "kernel/log.h"
#include "kernel/mode.h"
#include "kernel/panic.h"
#include "kernel/sched.h"
#include "kernel/steal.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "lab/mutant.h"
#include "lab/stall.h"
#include "lab/trace.h"
#include "mm/frame/page.h"
#include "mm/frame/slab.h"
#include "mm/policy/verdict.h"
#include "mm/space.h"
#include "proc/futex.h"
#include <arch/hyperv.h>
#include <arch/machine.h>

static _Noreturn void refuse(void)
{
	char line[512];

	log_open(banner(line, sizeof(line), false));
	kernel_exit(EXIT_BAD_INPUT);
}

static void choose_mutant(void)
{
	if (mutant_init())
		return;
	log_error("MUTANT=%s is unknown; valid:", mutant_name());
	mutant_print_all();
	refuse();
}

static void read_command_line(void)
{
	if (!cmdline_parse_all(arch_cmdline_boot(), arch_cmdline_override(), arch_cmdline_override_len()) ||
	    !pair_check_options())
		refuse();
}

static void print_banner(void)
{
	char line[512];

	log_open(banner(line, sizeof(line), true));
}

static int main_thread(void *unused)
{
	const struct mode_entry *mode = opt_mode ? opt_mode : mode_find(MODE_DEFAULT);

	if (!pair_check_options())		// again: some of what a back-end needs is known only now
		kernel_exit(EXIT_BAD_INPUT);
	if (!mode) {
		log_error("this build has no mode=" MODE_DEFAULT "; name another with mode=");
		kernel_exit(EXIT_BAD_INPUT);
	}
	if (*opt_trace && mode != mode_find("trace") && !trace_start())
		log_warn("trace=: no memory for the trace rings");
	kernel_exit(mode->run());
}

// What each CPU does for itself, on its own stack, before it takes interrupts.
static void init_this_cpu(void)
{
	page_init_cpu();			// its lists of free frames
	rcu_init_cpu();				// it counts as a possible reader from here on
	steal_init_cpu();			// its steal-time record
	arch_hyperv_init_cpu();			// its number for Hyper-V
	time_init_cpu();			// its tick
	cpumask_set_atomic(&cpus_online, cpu_id());
}

_Noreturn void kernel_main(void)		// arch_init_early() is done: console, descriptors, traps
{
	stall_init();				// the tests' hooks
	choose_mutant();			// make MUTANT=name: what is broken on purpose
	read_command_line();			// all that follows may depend on it
	page_init();				// page frames
	slab_init();				// small objects
	arch_init_memory();			// from here on the kernel's own tables are made of page frames, too
	sched_init();				// where threads come from; how to wait for a lock
	sched_init_cpu();			// a run queue; this flow of control becomes the idle thread
	arch_init_platform();			// ACPI, interrupt controller, clock; how many CPUs there are
	if (!percpu_alloc(nr_cpus))		// every CPU's copy of the per-CPU data
		panic("no memory for the per-CPU data of %u CPUs", nr_cpus);
	rcu_init();				// the grace-period tree
	init_this_cpu();
	irq_enable();
	arch_start_cpus();			// all others at once; each enters cpu_main()
	print_banner();				// the first line of the run
	rcu_start();				// grace periods can end from here on
	space_init();				// address spaces
	futex_init();				// where programs wait for each other
	if (!thread_create("main", main_thread, NULL, CPU_ANY, PRIO_NORMAL))
		panic("no memory for the main thread");
	idle_loop();
}

_Noreturn void cpu_main(void)			// an application processor, its per-CPU data in place
{
	sched_init_cpu();
	init_this_cpu();
	irq_enable();
	idle_loop();
}
