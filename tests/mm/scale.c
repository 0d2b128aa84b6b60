// SPDX-License-Identifier: MIT
// What must not grow with the number of CPUs, counted: the IPIs of an unmap, by how many CPUs have the space loaded;
// reports of quiescent states; idle CPUs disturbed by grace periods. One line per quantity, "scale: NAME TOTAL /
// EVENTS", for tools/scale.py, which puts the runs with 2 to 255 CPUs side by side.
#include <arch/irq.h>
#include "kernel/rcu/rcu.h"
#include "lab/test.h"
#include "mm/space.h"
#include "tests/bench/load.h"
#include "tests/kernel/rcu/readers.h"
#include "tests/mm/help.h"

#define UNMAPS 64
#define UNMAPS_ALL 8		// each of them must get a turn on the host
#define GRACE_PERIODS 20
#define GRACE_PERIODS_BUSY 5

// Threads on other CPUs that run in the space and do nothing there but take interrupts. They halt: otherwise a host
// with two cores would have to run 254 spinning CPUs for each shootdown. To the kernel their CPUs are busy.
static struct {
	struct space *space;
	u32 stop, running;
	unsigned n;
	struct thread *threads[NR_CPUS];
} others;

static int doze(void *unused)
{
	space_attach(others.space);
	fetch_add(&others.running, 1);
	while (!READ_ONCE(others.stop)) {
		irq_disable();
		irq_enable_and_halt();	// until the next tick at the latest
	}
	space_detach();
	return 0;
}

static void others_stop(void)
{
	WRITE_ONCE(others.stop, 1);
	for (unsigned i = 0; i < others.n; i++)
		thread_join(others.threads[i]);
}

static bool others_start(struct space *s, unsigned n)
{
	others.space = s;
	others.stop = others.running = 0;
	for (others.n = 0; others.n < n; others.n++) {
		struct thread *t = thread_create("doze", doze, NULL, other_cpu(others.n), PRIO_NORMAL);

		if (!t)
			break;
		others.threads[others.n] = t;
	}
	if (others.n == n && EVENTUALLY(READ_ONCE(others.running) == n))
		return true;
	others_stop();
	return false;
}

static void report(const char *name, u64 total, u64 events)
{
	log_info("scale: %s %llu / %llu", name, (unsigned long long)total, (unsigned long long)events);
}

static void since(struct counters *d, const struct counters *before)
{
	struct counters now;

	counters_snapshot(&now);
	counters_sub(d, &now, before);
}

// All that interrupts another CPU for an unmap or a grace period.
static u64 ipis(const struct counters *c) { return c->ipi_xcall + c->flush_nmi; }

// Map a page, tables and all, and unmap it; the calling thread runs in s.
static void unmap_often(struct space *s, unsigned n, struct counters *d)
{
	struct counters before;

	counters_snapshot(&before);
	for (unsigned i = 0; i < n; i++) {
		EXPECT_EQ(map_patiently(s, ALONE, PAGE_SIZE, 1), 0);
		EXPECT_EQ(space_unmap(s, ALONE, PAGE_SIZE), 0);
	}
	since(d, &before);
}

static void unmap_alone(const struct table_policy *p, u64 *sent, u64 *unmaps)
{
	struct space *s = space_create_with(p, flush_find("ipi"));
	struct counters d;

	REQUIRE(s);
	space_attach(s);
	unmap_often(s, UNMAPS, &d);
	space_detach();
	space_put(s);
	EXPECT_EQ(d.ipi_flush + d.ipi_walker + d.ipi_sync, 0);
	EXPECT((p->keeps ? d.tables_emptied : d.frees_l1 + d.tables_unlinked) >= UNMAPS);
	*sent += ipis(&d);
	*unmaps += UNMAPS;
}

// A space that is used on one CPU only: its unmaps interrupt no other CPU, whatever the policy and however many CPUs
// there are.
TEST(scale, unmap_alone, NEEDS_CPUS2)
{
	u64 sent = 0, unmaps = 0;

	rcu_barrier();		// no deferred work of earlier tests comes in between
	FOR_EACH_POLICY(p)
		unmap_alone(*p, &sent, &unmaps);
	report("ipis_per_unmap_alone", sent, unmaps);
	EXPECT_EQ(sent, 0);
	rcu_barrier();
}

// With k other CPUs busy in the space: at most one IPI for each of them, and none for the others.
static void unmap_with(unsigned k, unsigned n, const char *name)
{
	struct space *s = space_create_with(policy_find("rcu"), flush_find("ipi"));
	struct counters d;

	REQUIRE(s);
	space_attach(s);
	if (EXPECT(others_start(s, k))) {
		unmap_often(s, n, &d);
		others_stop();
		report(name, ipis(&d), n);
		EXPECT(ipis(&d) <= (u64)k * n);
		EXPECT(d.ipi_flush > 0 && d.ipi_flush <= (u64)k * n);
		// These CPUs have left the space, or hold it lazily: then freed tables make each of them leave, once.
		unmap_often(s, UNMAPS, &d);
		EXPECT(ipis(&d) <= k);
	}
	space_detach();
	space_put(s);
	rcu_barrier();
}

TEST(scale, unmap_with_one, NEEDS_CPUS2)
{
	unmap_with(1, UNMAPS, "ipis_per_unmap_with_one");
}

TEST(scale, unmap_with_all, NEEDS_CPUS2)
{
	unmap_with(nr_cpus - 1, UNMAPS_ALL, "ipis_per_unmap_with_all");
}

// All CPUs but the first: idle, and without a tick.
static bool all_settled(void)
{
	for (unsigned cpu = 1; cpu < nr_cpus; cpu++)
		if (!settled(cpu))
			return false;
	return true;
}

// Their interrupts and switches, and their ticks except the one that was due when a CPU stopped its own.
static u64 disturbances(const struct disturbance *before)
{
	u64 n = 0;

	for (unsigned cpu = 1; cpu < nr_cpus; cpu++) {
		struct disturbance now = disturbance_of(cpu);
		u64 ticked = now.ticks - before[cpu].ticks;

		n += now.switches - before[cpu].switches + now.interrupts - before[cpu].interrupts + (ticked > 1 ? ticked : 0);
	}
	return n;
}

// All CPUs but CPU 0 idle: their idle counters are sampled remotely, so only CPU 0 reports, and no CPU is woken.
TEST(scale, grace_period_idle, NEEDS_CPUS2)
{
	static struct disturbance idle[NR_CPUS];
	struct counters before, d;
	u64 gp, woken, start;

	move_to(0);
	rcu_barrier();
	REQUIRE(EVENTUALLY(all_settled()));
	gp = rcu_completed();
	for_each_cpu(cpu)
		idle[cpu] = disturbance_of(cpu);
	counters_snapshot(&before);
	start = now_ns();
	for (int i = 0; i < GRACE_PERIODS; i++) {
		synchronize_rcu();
		synchronize_rcu_expedited();
	}
	since(&d, &before);
	gp = rcu_completed() - gp;
	woken = disturbances(idle);
	report("us_per_grace_period_idle", (now_ns() - start) / 1000, gp);
	report("reports_per_grace_period_idle", d.rcu_qs, gp);
	report("wakeups_of_idle_cpus", woken, gp + GRACE_PERIODS);
	EXPECT(gp >= GRACE_PERIODS);
	EXPECT(d.rcu_qs <= gp);
	EXPECT_EQ(ipis(&d) + d.ipi_resched, 0);
	EXPECT_EQ(woken, 0);
	move_anywhere();
}

// All CPUs are busy: one report of each, no more, and still no IPI.
TEST(scale, grace_period_busy, NEEDS_CPUS2)
{
	struct space *s = space_create();
	struct counters before, d;
	u64 gp, start;

	REQUIRE(s);
	move_to(0);
	if (EXPECT(others_start(s, nr_cpus - 1))) {
		gp = rcu_completed();
		counters_snapshot(&before);
		start = now_ns();
		for (int i = 0; i < GRACE_PERIODS_BUSY; i++)
			synchronize_rcu();
		since(&d, &before);
		gp = rcu_completed() - gp;
		report("us_per_grace_period_busy", (now_ns() - start) / 1000, gp);
		report("reports_per_grace_period_busy", d.rcu_qs, gp);
		EXPECT(d.rcu_qs > 0 && d.rcu_qs <= (gp + 1) * nr_cpus);
		EXPECT_EQ(ipis(&d), 0);
		others_stop();
	}
	space_put(s);
	move_anywhere();
}
