// SPDX-License-Identifier: MIT
// Every CPU's tick checks one other CPU, in turn: has that CPU had no timer interrupt for long although one was due?
// Then it keeps interrupts off, or an interrupt was lost. In deadline mode a lost tick does not come back by itself,
// and the threads that sleep on that CPU would sleep for ever, unnoticed.
//
// Only time that some CPU has watched counts (struct seen). A stretch in which no CPU looks (all are idle, or the host
// has stopped the machine) counts as at most one round of looks.
#include <arch/ipi.h>
#include <arch/machine.h>
#include "kernel/cpumask.h"
#include "kernel/irq.h"
#include "kernel/log.h"
#include "kernel/time.h"

#define DEPTH 16

struct watched {
	struct seen silent;	// how long its count of ticks has been `ticks`
	u64 ticks;
	bool seen;		// it was online at an earlier look: before that it has no tick, and could take no NMI
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
	log_warn("time: CPU %u has had no timer interrupt for %llu ms although one was due", cpu,
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
	// A single CPU that ticks looks at each other CPU again within half of the first bound. The second is for a
	// machine that is idle but for a sleeper now and then, where looks are rare.
	ns = seen_look(&w->silent, MAX(2 * nr_cpus * tick_ns(), limit / 8));
	ticked = READ_ONCE(per_cpu(ticks, cpu));
	if (ticked != READ_ONCE(w->ticks) || !tick_is_due(cpu, now_ns()) || !READ_ONCE(w->seen)) {
		WRITE_ONCE(w->seen, true);
		WRITE_ONCE(w->ticks, ticked);
		WRITE_ONCE(w->silent.ns, 0);
	} else if (ns > limit && xchg(&w->silent.ns, 0ull) > limit) {	// of the CPUs that look now one complains
		complain(cpu, w, ns);
	}
}
TICK_HANDLER(look);
