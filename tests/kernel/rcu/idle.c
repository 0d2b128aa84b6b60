// SPDX-License-Identifier: MIT
// RCU and idle CPUs: they are never disturbed and never waited for, but a reader that interrupts idle is waited for.
#include <arch/ipi.h>
#include <arch/machine.h>
#include "kernel/lib.h"
#include "kernel/thread.h"
#include "lab/test.h"
#include "tests/kernel/rcu/readers.h"

// Over 100 grace periods of each kind, a tick apart, so that the grace-period thread has slept before each.
TEST(rcu, idle_cpu_undisturbed, NEEDS_CPUS2)
{
	static struct rcu_head heads[10];
	unsigned cpu = last_cpu();
	struct disturbance before;
	u64 gp;

	memset(heads, 0, sizeof(heads));
	move_to(0);
	rcu_barrier();
	REQUIRE(EVENTUALLY(settled(cpu)));
	before = disturbance_of(cpu);
	gp = rcu_completed();
	for (int i = 0; i < 100; i++) {
		if (i % 10 == 0)
			call_rcu(&heads[i / 10], count_run);
		synchronize_rcu();
		synchronize_rcu_expedited();
		thread_sleep_ns(tick_ns());
	}
	rcu_barrier();
	EXPECT(rcu_completed() - gp >= 100);
	EXPECT(undisturbed_since(cpu, &before));
	move_anywhere();
}

static u64 sample_inside;
static u32 sampled;
static DEFINE_PER_CPU(u32, nmi_sample_asked);

static void sample_here(void *arg)
{
	WRITE_ONCE(sample_inside, rcu_idle_sample(cpu_id()));
	store_release(&sampled, 1);
}

static void nmi_sample(void)
{
	if (READ_ONCE(*this_cpu_ptr(&nmi_sample_asked)) && xchg(this_cpu_ptr(&nmi_sample_asked), 0))
		sample_here(NULL);
}
NMI_HANDLER(nmi_sample);

// Interrupt and NMI out of idle: the handler runs outside the idle state, which is entered again afterwards.
TEST(rcu, entry_from_idle, NEEDS_CPUS2)
{
	static struct xcall call = { .fn = sample_here };
	unsigned cpu = last_cpu();

	move_to(0);
	rcu_barrier();
	for (int nmi = 0; nmi < 2; nmi++) {
		REQUIRE(EVENTUALLY(settled(cpu)));
		u64 before = rcu_idle_sample(cpu);

		WRITE_ONCE(sampled, 0);
		if (nmi) {
			xchg(per_cpu_ptr(&nmi_sample_asked, cpu), 1);
			arch_send_ipi(cpu, IPI_NMI);
		} else {
			EXPECT(xcall_async(cpu, &call));
		}
		spin_until(load_acquire(&sampled), "sample", cpu);
		EXPECT(!rcu_sample_idle(READ_ONCE(sample_inside)));
		EXPECT(READ_ONCE(sample_inside) > before);
		EXPECT(EVENTUALLY(rcu_sample_idle(rcu_idle_sample(cpu))));
	}
	move_anywhere();
}

static u64 idle_ticks;		// of CPU 0, when the grace period was asked for
static u32 synchronizing;

static int synchronize(void *arg)
{
	WRITE_ONCE(idle_ticks, READ_ONCE(per_cpu(ticks, 0)));
	store_release(&synchronizing, 1u);
	synchronize_rcu();
	EXPECT(load_acquire(&reader.done));
	return 0;
}

static bool cpu0_has_ticked(void)
{
	return load_acquire(&synchronizing) && READ_ONCE(per_cpu(ticks, 0)) - READ_ONCE(idle_ticks) > 3;
}

// Nothing on the reader's idle CPU reports the end of the reader, and that CPU is not woken. The grace-period thread
// must look again by itself, so its own CPU, CPU 0, must keep its tick although it idles. No sleeper makes CPU 0 tick
// here. The reader ends once it has seen CPU 0 tick, and only another tick can then end the grace period. If CPU 0 does
// not tick, the watchdog of the reader's spin reports it.
TEST(rcu, reader_on_idle_cpu, NEEDS_CPUS2)
{
	move_to(0);
	rcu_barrier();
	for (enum reader_kind kind = READ_INTERRUPT; kind <= READ_NMI; kind++) {
		struct thread *t;

		REQUIRE(EVENTUALLY(settled(last_cpu())));
		WRITE_ONCE(synchronizing, 0);
		start_reader_until(kind, last_cpu(), cpu0_has_ticked);
		REQUIRE(t = thread_create("sync", synchronize, NULL, 0, PRIO_NORMAL));
		thread_join(t);
	}
	move_anywhere();
}
