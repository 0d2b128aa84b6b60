// SPDX-License-Identifier: MIT
// RCU and idle CPUs: never disturbed, never waited for, and readers out of idle are readers.
#include <arch/ipi.h>
#include <arch/machine.h>
#include "kernel/lib.h"
#include "kernel/test.h"
#include "kernel/thread.h"
#include "tests/rcu_readers.h"

struct disturbance {
	u64 switches, interrupts;
};

static struct disturbance disturbance_of(unsigned cpu)
{
	return (struct disturbance){ READ_ONCE(per_cpu(context_switches, cpu)), READ_ONCE(per_cpu(interrupts, cpu)) };
}

// Over 100 grace periods, of each kind, spread over a second so that "2 a second" can be told from "one each".
TEST(rcu, idle_cpu_undisturbed, NEEDS_CPUS2)
{
	static struct rcu_head heads[10];
	unsigned cpu = last_cpu();

	memset(heads, 0, sizeof(heads));
	move_to(0);
	rcu_barrier();
	REQUIRE(EVENTUALLY(settled(cpu), WAIT_MS));

	struct disturbance before = disturbance_of(cpu);
	u64 start = now_ns(), gp = rcu_completed();

	for (int i = 0; i < 100; i++) {
		if (i % 10 == 0)
			call_rcu(&heads[i / 10], count_run);
		synchronize_rcu();
		synchronize_rcu_expedited();
		thread_sleep_ns(NSEC_PER_SEC / 150);
	}
	rcu_barrier();
	struct disturbance after = disturbance_of(cpu);
	u64 seconds = (now_ns() - start + NSEC_PER_SEC - 1) / NSEC_PER_SEC;

	log_info("%llu grace periods in at most %llu s: %llu interrupts, %llu switches on idle CPU %u",
		 (unsigned long long)(rcu_completed() - gp), (unsigned long long)seconds,
		 (unsigned long long)(after.interrupts - before.interrupts),
		 (unsigned long long)(after.switches - before.switches), cpu);
	EXPECT(rcu_completed() - gp >= 100);
	EXPECT_EQ(after.switches, before.switches);
	EXPECT(after.interrupts - before.interrupts <= 2 * seconds);
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
		REQUIRE(EVENTUALLY(settled(cpu), WAIT_MS));
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
		EXPECT(EVENTUALLY(rcu_sample_idle(rcu_idle_sample(cpu)), WAIT_MS));
	}
	move_anywhere();
}

static u64 synchronized_at;
static int synchronize_and_tell(void *arg)
{
	synchronize_rcu();
	WRITE_ONCE(synchronized_at, now_ns());
	return 0;
}

// Does the grace period end soon after a reader in an interrupt or NMI out of tickless idle?
static bool ends_after_reader_on_idle_cpu(enum reader_kind kind)
{
	u64 held = 10 * tick_ns(), slept = held + NSEC_PER_SEC / 3;

	if (!EVENTUALLY(settled(last_cpu()), WAIT_MS))
		return false;
	start_reader(kind, last_cpu(), held);
	u64 start = now_ns();
	struct thread *t = thread_create("sync", synchronize_and_tell, NULL, 0, PRIO_NORMAL);

	thread_sleep_ns(slept);		// meanwhile nothing of ours makes CPU 0 tick; at its end something does
	EXPECT(load_acquire(&reader.done));
	thread_join(t);
	return READ_ONCE(synchronized_at) < start + slept;
}

// Nothing on that CPU reports the reader's end, and the CPU is not woken. The grace-period thread has to look again by
// itself, so its own CPU must keep its tick although it idles.
TEST(rcu, reader_on_idle_cpu, NEEDS_CPUS2)
{
	move_to(0);
	rcu_barrier();
	for (enum reader_kind kind = READ_INTERRUPT; kind <= READ_NMI; kind++) {
		bool soon = false;

		for (int i = 0; i < 4 && !soon; i++)	// a busy host may be late for once
			soon = ends_after_reader_on_idle_cpu(kind);
		EXPECT(soon);
	}
	move_anywhere();
}
