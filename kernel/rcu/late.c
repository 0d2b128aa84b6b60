// SPDX-License-Identifier: MIT
// Complaints about grace periods that take too long. Every CPU's tick checks, so that a stall is noticed whichever CPU
// stalls; the first CPU that sees the deadline passed complains and sets the next deadline. Only time that those ticks
// have seen pass counts: a pause of the whole machine, in which no reader could end, does not. The holdout gets an NMI
// and prints its backtrace; if the NMI does not arrive, the holdout's next tick prints it.
#include <arch/ipi.h>
#include <arch/machine.h>
#include "kernel/log.h"
#include "kernel/panic.h"
#include "kernel/rcu/internal.h"
#include "kernel/time.h"
#include "lab/trace.h"

#define STALL_DEPTH 16
#define SEEN_TICKS 4	// of the time between two looks at most so many ticks count

void rcu_set_late_ns(u64 ns)
{
	WRITE_ONCE(rcu.late_ns, MIN(ns, UINT64_MAX / 2));	// a time plus this must not overflow
}

u64 rcu_watched_ns(void)
{
	return seen_look(&rcu.watched, SEEN_TICKS * tick_ns());
}

u64 rcu_late_reports(void)
{
	return READ_ONCE(rcu.late_reports);
}

static void show_backtrace(void)
{
	struct rcu_cpu *rc = this_cpu_ptr(&rcu_cpu);
	uintptr_t pcs[STALL_DEPTH];

	if (!READ_ONCE(rc->want_backtrace) || !xchg(&rc->want_backtrace, 0))
		return;
	log_warn("rcu: backtrace of CPU %u:", cpu_id());
	print_backtrace(pcs, arch_backtrace_interrupted(pcs, STALL_DEPTH));
	fetch_add(&rcu.backtraces, 1);
}
NMI_HANDLER(show_backtrace);

static void name_holdout(const char *what, unsigned cpu, u64 ms)
{
	struct rcu_cpu *rc = &per_cpu(rcu_cpu, cpu);

	log_warn("rcu: CPU %u has held up %s for %llu ms", cpu, what, (unsigned long long)ms);
	trace_print_last(cpu, 8);
	WRITE_ONCE(rcu.late_cpu, cpu);
	WRITE_ONCE(rc->want_backtrace, 1);
	if (cpu == cpu_id())
		show_backtrace();
	else
		arch_send_ipi(cpu, IPI_NMI);
}

static bool normal_waits(struct rcu_cpu *rc) { return rcu_waits_for(rc); }
static bool exp_waits(struct rcu_cpu *rc) { return READ_ONCE(rc->exp_need); }

static void complain(const char *what, u64 since, bool (*waits)(struct rcu_cpu *))
{
	u64 ms = (rcu_watched_ns() - since) / NSEC_PER_MSEC;
	unsigned named = 0;

	for_each_cpu(cpu) {
		if (!waits(&per_cpu(rcu_cpu, cpu)) || rcu_sample_idle(rcu_idle_sample(cpu)))
			continue;
		name_holdout(what, cpu, ms);
		named++;
	}
	if (!named)
		log_warn("rcu: %s has taken %llu ms although no CPU holds it up", what, (unsigned long long)ms);
	fetch_add(&rcu.late_reports, 1);
}

// The deadline is U64_MAX while nothing is in progress. Once the grace period has ended the exchange fails.
static void check(u64 *at, u64 *started, const char *what, bool (*waits)(struct rcu_cpu *))
{
	u64 due = READ_ONCE(*at);

	if (due == UINT64_MAX)
		return;
	u64 now = rcu_watched_ns();

	if (now >= due && cmpxchg(at, due, now + READ_ONCE(rcu.late_ns)))
		complain(what, READ_ONCE(*started), waits);
}

void rcu_late_tick(void)
{
	show_backtrace();
	check(&rcu.late_at, &rcu.gp_started, "a grace period", normal_waits);
	check(&rcu.exp_late_at, &rcu.exp_started, "an expedited grace period", exp_waits);
}
