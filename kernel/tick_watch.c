// SPDX-License-Identifier: MIT
// Every CPU's tick looks at one other CPU, in turn: has its timer gone silent, though it should come? Then it keeps
// interrupts off, or the interrupt has been lost; in deadline mode the tick would not come back by itself, and who sleeps
// on that CPU would sleep for ever without a word.
//
// "For so long" means: under our eyes. While nobody looks (all are idle, or the host has stopped the machine) no time counts
// but for one turn.
#include <arch/ipi.h>
#include <arch/machine.h>
#include "kernel/cpumask.h"
#include "kernel/irq.h"
#include "kernel/log.h"
#include "kernel/time.h"

#define DEPTH 16

struct watched {
	struct seen silent;	// since it had so many
	u64 ticks;
	bool seen;		// once it was online: before, it has no tick, and could take no NMI
	u32 want_backtrace;
};
static DEFINE_PER_CPU(struct watched, watched);

struct tick_watch tick_watch = { .limit_ns = 10 * NSEC_PER_SEC };

static void show_backtrace(void)
{
	struct watched *w = this_cpu_ptr(&watched);
	uintptr_t pcs[DEPTH];

	if (!READ_ONCE(w->want_backtrace) || !xchg(&w->want_backtrace, 0u))
		return;
	log_warn("time: backtrace of CPU %u:", cpu_id());
	print_backtrace(pcs, arch_backtrace_interrupted(pcs, DEPTH));
	fetch_add(&tick_watch.backtraces, 1);
}
NMI_HANDLER(show_backtrace);

static void complain(unsigned cpu, struct watched *w, u64 ns)
{
	log_warn("time: CPU %u has had no timer interrupt for %llu ms, and one was due", cpu,
		 (unsigned long long)(ns / NSEC_PER_MSEC));
	WRITE_ONCE(tick_watch.cpu, cpu);
	fetch_add(&tick_watch.reports, 1);
	WRITE_ONCE(w->want_backtrace, 1u);
	arch_send_ipi(cpu, IPI_NMI);
}

static void look(void)
{
	unsigned cpu = (unsigned)((cpu_id() + 1 + this_cpu_read(ticks)) % nr_cpus);
	struct watched *w = per_cpu_ptr(&watched, cpu);
	u64 limit = READ_ONCE(tick_watch.limit_ns), ticked, ns;

	if (cpu == cpu_id() || !cpumask_test(&cpus_online, cpu))
		return;
	// One CPU that ticks comes round within half of the first, and of the second where all are idle but for a sleeper now and then.
	ns = seen_look(&w->silent, MAX(2 * nr_cpus * tick_ns(), limit / 8));
	ticked = READ_ONCE(per_cpu(ticks, cpu));
	if (ticked != READ_ONCE(w->ticks) || !tick_is_due(cpu, now_ns()) || !READ_ONCE(w->seen)) {
		WRITE_ONCE(w->seen, true);
		WRITE_ONCE(w->ticks, ticked);
		WRITE_ONCE(w->silent.ns, 0);
	} else if (ns > limit && xchg(&w->silent.ns, 0ull) > limit) {	// one of those who look now
		complain(cpu, w, ns);
	}
}
TICK_HANDLER(look);
