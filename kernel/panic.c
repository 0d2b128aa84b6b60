// SPDX-License-Identifier: MIT
// Giving up. The first CPU that panics owns the machine: it speaks, stops the others by NMI, lets each of them print its
// own backtrace in turn, and leaves. Every wait in here is bounded: a CPU that does not answer is named and left behind.
//
//   panicking CPU                       each other CPU, in its NMI
//   owner := me; print; NMI to all
//   for each CPU: wait until arrived    arrived |= me; wait until turn == me
//                 turn := CPU           print the interrupted backtrace
//                 wait until turn == 0  turn := 0; halt
#include "kernel/panic.h"
#include "kernel/cpumask.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/spinlock.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include <arch/ipi.h>
#include <arch/machine.h>

#define MAX_FRAMES 24
#define ARRIVE_NS (500 * NSEC_PER_MSEC)		// for all CPUs together, and a little for each
#define SPEAK_NS (2 * NSEC_PER_SEC)

static u32 owner;		// CPU + 1 that panicked
static u32 turn;		// CPU + 1 that may speak
static struct cpumask arrived;
static u64 warnings;

bool panic_in_progress(void) { return READ_ONCE(owner) != 0; }
u64 warn_count(void) { return READ_ONCE(warnings); }

// Bounded in rounds too: the clock may be what is broken, or may not run yet.
#define wait_bounded(cond, ns) ({ \
	u64 _start = now_ns(); \
	u64 _rounds = 0; \
	while (!(cond) && now_ns() - _start < (ns) && _rounds++ < 200000000) \
		cpu_relax(); \
	(cond); })

static void print_own_state(void)
{
	uintptr_t pcs[MAX_FRAMES];
	struct thread *t = current;

	log_error("CPU %u, thread %s, preempt count 0x%x", cpu_id(), t && t->name ? t->name : "(none)",
		  this_cpu_read(preempt_count));
	arch_print_registers();
	locks_print_held(cpu_id());
	print_backtrace(pcs, in_irq() ? arch_backtrace_interrupted(pcs, MAX_FRAMES) : arch_backtrace(pcs, MAX_FRAMES));
}

_Noreturn void panic_stop_this_cpu(void)
{
	u32 me = cpu_id() + 1;

	irq_disable();
	cpumask_set_atomic(&arrived, cpu_id());
	while (load_acquire(&turn) != me)
		cpu_relax();
	log_panic_mode();
	print_own_state();
	cmpxchg(&turn, me, 0u);		// unless it was taken away: too slow
	arch_halt_forever();
}

static void let_others_speak(void)
{
	struct cpumask others, silent = { 0 };
	u64 patience = ARRIVE_NS;

	cpumask_copy(&others, &cpus_online);
	cpumask_clear(&others, cpu_id());
	arch_send_ipi_mask(&others, IPI_NMI);
	for_each_cpu_in(cpu, &others) {
		if (!wait_bounded(cpumask_test(&arrived, cpu), patience)) {
			patience = ARRIVE_NS / 100;	// the others had the same time to arrive
			cpumask_set(&silent, cpu);
			continue;
		}
		store_release(&turn, cpu + 1);
		if (!wait_bounded(!READ_ONCE(turn), SPEAK_NS))
			xchg(&turn, 0u);
		log_panic_mode();	// take the word back
	}
	for_each_cpu_in(cpu, &silent)
		log_error("CPU %u does not answer the NMI", cpu);
}

_Noreturn void panic(const char *fmt, ...)
{
	static char message[512];	// the owner's alone: stacks may be what has run out
	va_list ap;

	irq_disable();
	if (!cmpxchg(&owner, 0u, cpu_id() + 1)) {
		if (READ_ONCE(owner) != cpu_id() + 1)
			panic_stop_this_cpu();
		log_panic_mode();	// the panic itself has failed: no more risks
		log_error("panic inside panic");
		kernel_exit(EXIT_PANIC);
	}
	log_panic_mode();
	va_start(ap, fmt);
	kvsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	kprintf("# PANIC: %s\n", message);
	print_own_state();
	let_others_speak();
	kernel_exit(EXIT_PANIC);
}

void warn_at(const char *file, int line, const char *what)
{
	uintptr_t pcs[MAX_FRAMES];

	fetch_add(&warnings, 1);
	log_error("WARNING: %s at %s:%d, CPU %u", what, file, line, cpu_id());
	print_backtrace(pcs, arch_backtrace(pcs, MAX_FRAMES));
}

_Noreturn void kernel_exit(int status)
{
	irq_disable();
	log_panic_mode();	// nobody prints after the last line
	if (status == EXIT_OK && warn_count()) {
		log_error("%llu warnings: the run has failed", (unsigned long long)warn_count());
		status = EXIT_TESTS_FAILED;
	}
	kprintf("quiesce: exit %d\n", status);
	arch_exit(status);
}
