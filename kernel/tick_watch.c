// SPDX-License-Identifier: MIT
// Every CPU's tick looks at one other CPU, in turn: has its timer gone silent, though it should come? Then it keeps
// interrupts off, or the interrupt has been lost; in deadline mode the tick would not come back by itself, and who sleeps
// on that CPU would sleep for ever without a word.
//
// "For so long" means: under our eyes. If nobody has looked meanwhile (all were idle, or the host has stopped the machine)
// the time does not count.
#include <arch/ipi.h>
#include <arch/machine.h>
#include "kernel/cpumask.h"
#include "kernel/irq.h"
#include "kernel/log.h"
#include "kernel/time.h"

#define DEPTH 16

struct watched {
	u64 looked;		// when; who wins the exchange of this may write the next two
	u64 ticks, since;	// so many, since then
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

void tick_watch_look(void)
{
	unsigned cpu = (unsigned)((cpu_id() + 1 + this_cpu_read(ticks)) % nr_cpus);
	struct watched *w = per_cpu_ptr(&watched, cpu);
	u64 now = now_ns(), limit = READ_ONCE(tick_watch.limit_ns), looked = READ_ONCE(w->looked), seen, since;

	if (cpu == cpu_id() || !cpumask_test(&cpus_online, cpu) || now <= looked || !cmpxchg(&w->looked, looked, now))
		return;
	seen = READ_ONCE(per_cpu(ticks, cpu));
	since = READ_ONCE(w->since);
	if (seen != READ_ONCE(w->ticks) || !tick_is_due(cpu, now) || now - looked > limit / 2 || !READ_ONCE(w->seen)) {
		WRITE_ONCE(w->seen, true);
		WRITE_ONCE(w->ticks, seen);
		WRITE_ONCE(w->since, now);
	} else if (now > since && now - since > limit) {
		WRITE_ONCE(w->since, now);
		complain(cpu, w, now - since);
	}
}
