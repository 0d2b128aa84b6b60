// SPDX-License-Identifier: MIT
// Expedited grace periods: interrupt each CPU that is not idle, and check whether the interrupt hit a reader.
//
// There is one at a time. A caller that finds one under way waits until a grace period that began after its call has
// ended, or until it can run one itself. Each CPU has a flag `exp_need`, cleared by xchg; `left` counts the flags that
// are set. Argument, with the definitions of rcu.c:
//   1. The caller's full barrier precedes the sampling of the idle counters and the setting of the flags. A CPU whose
//      sample is even is quiescent at that instant (properties 4 and 5 there); so is our own: we were preemptible.
//   2. A flag is cleared by its own CPU only, by a full barrier, at an instant when that CPU is quiescent: in the
//      cross-CPU call, if that interrupted no reader; otherwise at its next context switch, which need_resched asks
//      for, or at its next quiescent tick. A reader before that instant is over, ordered before our seeing the count 0;
//      a reader after it sees what preceded 1.
//   3. If the previous cross-CPU call to a CPU is still in flight (the CPU reported by a context switch first), no
//      second one is sent. The call in flight will find the new flag, because its full barrier follows the release of
//      the call's `busy`, and our full barrier precedes our try to set `busy`.
#include "kernel/panic.h"
#include "kernel/rcu/internal.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "lab/counter.h"
#include "lab/mutant.h"
#include "lab/trace.h"

static struct {
	struct waitq busy_wq;
	u32 busy;	// a grace period is under way
	u64 seq;	// counts as rcu.seq does; written only by the thread that set `busy`
	u32 left;	// flags set, plus one while they are being set
	struct waitq left_wq;
} expedited;

static void drop_one(void)
{
	if (fetch_sub(&expedited.left, 1) == 1)
		waitq_wake_one(&expedited.left_wq);
}

void rcu_exp_quiescent(struct rcu_cpu *rc)
{
	trace(EV_QUIESCENT, cpu_id());
	if (xchg(&rc->exp_need, 0))
		drop_one();
}

static void exp_interrupt(void *arg)
{
	struct rcu_cpu *rc = arg;

	smp_mb();	// argument 3
	if (!READ_ONCE(rc->exp_need))
		return;
	if (MUTANT(rcu_exp_unasked))	// what was interrupted counts as quiescent, whatever it was
		rcu_quiescent(rc);
	else if (rcu_interrupted_quiescent())
		rcu_quiescent(rc);
	else
		this_cpu_write(need_resched, true);
}

void rcu_exp_init(void)
{
	waitq_init(&expedited.busy_wq);
	waitq_init(&expedited.left_wq);
	for_each_cpu(cpu) {
		struct rcu_cpu *rc = &per_cpu(rcu_cpu, cpu);

		rc->exp_call.fn = exp_interrupt;
		rc->exp_call.arg = rc;
	}
}

// Preemption is off. Our own CPU needs no flag: it was preemptible, and so quiescent, just before.
static void ask_running_cpus(void)
{
	struct cpumask asked = { 0 };

	for_each_cpu(cpu) {
		if (cpu == cpu_id() || rcu_sample_idle(rcu_idle_sample(cpu)))
			continue;
		fetch_add(&expedited.left, 1);
		xchg(&per_cpu(rcu_cpu, cpu).exp_need, 1);
		cpumask_set(&asked, cpu);
	}
	for_each_cpu_in(cpu, &asked)
		xcall_async(cpu, &per_cpu(rcu_cpu, cpu).exp_call);	// false: still in flight, argument 3
}

static void exp_grace_period(void)
{
	u64 now = rcu_watched_ns();

	WRITE_ONCE(rcu.exp_started, now);
	WRITE_ONCE(rcu.exp_late_at, now + READ_ONCE(rcu.late_ns));
	trace(EV_EXPEDITED_BEGIN, 0);
	fetch_add(&expedited.seq, 1);
	WRITE_ONCE(expedited.left, 1);
	preempt_disable();
	ask_running_cpus();
	preempt_enable();
	drop_one();
	wait_event(&expedited.left_wq, load_acquire(&expedited.left) == 0);
	trace(EV_EXPEDITED_END, 0);
	fetch_add(&expedited.seq, 1);
	WRITE_ONCE(rcu.exp_late_at, UINT64_MAX);
}

static bool covered(u64 wanted)
{
	return rcu_seq_completed(load_acquire(&expedited.seq)) >= wanted;
}

void synchronize_rcu_expedited(void)
{
	bool mine = false;

	ASSERT_MAY_SLEEP();
	count(rcu_waits);
	smp_mb();	// argument 1
	u64 wanted = rcu_seq_next(READ_ONCE(expedited.seq));

	wait_event(&expedited.busy_wq, covered(wanted) || (mine = cmpxchg(&expedited.busy, 0, 1)));
	if (mine && !covered(wanted))	// one is enough: the grace period that was under way at our call has ended
		exp_grace_period();
	if (mine) {
		store_release(&expedited.busy, 0);
		waitq_wake_all(&expedited.busy_wq);
	}
	smp_mb();	// the readers' accesses, then the caller's freeing
}
