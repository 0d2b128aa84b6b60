// SPDX-License-Identifier: MIT
// Giving up. The first CPU that panics owns the machine: it prints, and stops the others by NMI. Each of those records
// its own backtrace in per-CPU memory and halts at once (with many CPUs on few cores none may spin for its turn); the
// owner prints them all. The only wait is bounded: the owner names a CPU that does not answer, and goes on.
#include "kernel/panic.h"
#include "kernel/cpumask.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "lab/lockcheck.h"
#include "lab/trace.h"
#include <arch/ipi.h>
#include <arch/machine.h>

#define MAX_FRAMES 24
#define TRACE_LAST 8	// events of each CPU
#define ARRIVE_NS (5 * NSEC_PER_SEC)
#define ARRIVE_SEEN_NS NSEC_PER_MSEC	// of the time between two looks at most so much counts
#define ARRIVE_ROUNDS 1000000000ull	// the clock may be what is broken, or may not run yet

struct last_state {		// what a stopped CPU was doing
	u32 noted;		// store_release when the rest is complete; pairs with let_others_speak()
	u32 preempt;
	unsigned frames;
	struct thread *thread;
	uintptr_t pcs[MAX_FRAMES];
};
static DEFINE_PER_CPU(struct last_state, last_state);

static u32 owner;		// CPU + 1 that panicked or exits; never given up
static u64 warnings;

bool panic_in_progress(void) { return READ_ONCE(owner) != 0; }
bool panic_is_mine(void) { return READ_ONCE(owner) == cpu_id() + 1; }
u64 warn_count(void) { return READ_ONCE(warnings); }

// IRQs off. True: this CPU has just become the owner; false: it was the owner already. If another CPU is, stop here.
static bool own_machine(void)
{
	if (cmpxchg(&owner, 0u, cpu_id() + 1))
		return true;
	if (!panic_is_mine())
		panic_stop_this_cpu();
	return false;
}

static void note_own_state(unsigned (*backtrace)(uintptr_t *out, unsigned max))
{
	struct last_state *s = this_cpu_ptr(&last_state);

	s->thread = current;
	s->preempt = this_cpu_read(preempt_count);
	s->frames = backtrace(s->pcs, MAX_FRAMES);
	store_release(&s->noted, 1u);
}

static void print_state(unsigned cpu)
{
	const struct last_state *s = per_cpu_ptr(&last_state, cpu);
	const struct thread *t = s->thread;

	log_error("CPU %u, thread %s, preempt count 0x%x", cpu, t && t->name ? t->name : "(none)", s->preempt);
	locks_print_held(cpu);
	print_backtrace(s->pcs, s->frames);
	trace_print_last(cpu, TRACE_LAST);
}

_Noreturn void panic_stop_this_cpu(void)
{
	irq_disable();
	// The NMI also reaches a CPU that lost the race to panic and has recorded its state: that may be being printed.
	if (!READ_ONCE(this_cpu_ptr(&last_state)->noted))
		note_own_state(in_nmi() ? arch_backtrace_interrupted : arch_backtrace);
	arch_halt_forever();
}

static void let_others_speak(void)
{
	struct cpumask others;
	struct seen waited = SEEN_FROM_NOW;
	u64 rounds = 0;

	cpumask_copy(&others, &cpus_online);
	cpumask_clear(&others, cpu_id());
	if (cpumask_empty(&others))
		return;
	arch_send_ipi_mask(&others, IPI_NMI);
	for_each_cpu_in(cpu, &others) {
		while (!load_acquire(&per_cpu(last_state, cpu).noted) && seen_look(&waited, ARRIVE_SEEN_NS) < ARRIVE_NS &&
		       rounds++ < ARRIVE_ROUNDS)
			cpu_relax();
		if (load_acquire(&per_cpu(last_state, cpu).noted)) {
			print_state(cpu);
		} else {
			log_error("CPU %u does not answer the NMI", cpu);
			trace_print_last(cpu, TRACE_LAST);
		}
	}
}

_Noreturn void panic(const char *fmt, ...)
{
	static char message[512];	// only the owner's. Static: it may be the stack that has run out
	va_list ap;

	irq_disable();
	if (!own_machine()) {
		log_panic_mode();	// the panic, or the exit, has itself failed: no more risks
		log_error("panic inside panic or exit");
		kernel_exit(EXIT_PANIC);
	}
	log_panic_mode();
	va_start(ap, fmt);
	kvsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	kprintf("# PANIC: %s\n", message);
	arch_print_registers();
	note_own_state(arch_backtrace);		// the own stack, even in an interrupt: its handler is what failed
	print_state(cpu_id());
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
	own_machine();		// a run in which another CPU panics may not end with this status
	log_panic_mode();	// nobody prints after the last line
	if (status == EXIT_OK && warn_count()) {
		log_error("%llu warnings: the run has failed", (unsigned long long)warn_count());
		status = EXIT_TESTS_FAILED;
	}
	arch_console_drain(5 * NSEC_PER_SEC);	// so that the last line is not lost
	kprintf("quiesce: exit %d\n", status);
	arch_exit(status);
}
