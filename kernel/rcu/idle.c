// SPDX-License-Identifier: MIT
// RCU's idle state: each CPU has a counter, whose value is even while the CPU idles. Only that CPU writes it, by
// seq_cst read-modify-writes, so that each edge is a full barrier; any CPU may sample it (properties 4 and 5 of rcu.c).
//
// Interrupts and NMIs from idle leave the state before any reader and re-enter it on their way out. An NMI may come at
// any instruction of an entry, hence one rule for all kinds of entry: take the next depth; if the counter is even
// *now*, make it odd and remember that in this depth's bit. A nested entry restores parity and bits before the outer
// one goes on, so the outer one never notices it:
//
//	idle │ depth 1: even → odd, bit 1 │ NMI, depth 2: odd, no bit │ exit 2 │ exit 1: bit 1, odd → even │ idle
//	idle │ depth 1: tests even ┆ NMI, depth 2: even → odd, bit 2 … exit: → even ┆ makes it odd, bit 1 │ …
#include "kernel/panic.h"
#include "kernel/rcu/internal.h"
#include "lab/mutant.h"

DEFINE_PER_CPU(struct rcu_cpu, rcu_cpu);

u64 rcu_idle_sample(unsigned cpu)
{
	smp_mb();	// a CPU that leaves idle after this sees what came before it (the start of the grace period)
	u64 s = load_acquire(&per_cpu(rcu_cpu, cpu).idle_seq);
	smp_mb();	// pairs with both edges
	return s;
}

static __always_inline void entry(void)
{
	struct rcu_cpu *rc = this_cpu_ptr(&rcu_cpu);
	u32 depth = READ_ONCE(rc->depth) + 1;

	WRITE_ONCE(rc->depth, depth);
	barrier();
	ASSERT(depth < 64);
	if (MUTANT(rcu_entry_unseen))	// an interrupt in the idle loop does not leave the idle state
		return;
	if (rcu_sample_idle(READ_ONCE(rc->idle_seq))) {
		fetch_add(&rc->idle_seq, 1);
		WRITE_ONCE(rc->left_idle, READ_ONCE(rc->left_idle) | 1ull << depth);
	}
}

static __always_inline void leave(void)
{
	struct rcu_cpu *rc = this_cpu_ptr(&rcu_cpu);
	u32 depth = READ_ONCE(rc->depth);
	u64 bit = 1ull << depth;

	ASSERT(depth > 0);
	if (READ_ONCE(rc->left_idle) & bit) {
		WRITE_ONCE(rc->left_idle, READ_ONCE(rc->left_idle) & ~bit);
		fetch_add(&rc->idle_seq, 1);
	}
	barrier();
	WRITE_ONCE(rc->depth, depth - 1);
}

void rcu_irq_enter(void) { entry(); }
void rcu_irq_exit(void) { leave(); }
void rcu_nmi_enter(void) { entry(); }
void rcu_nmi_exit(void) { leave(); }

void rcu_idle_enter(void)
{
	struct rcu_cpu *rc = this_cpu_ptr(&rcu_cpu);

	ASSERT(!irqs_enabled() && !in_irq());
	ASSERT(!rcu_sample_idle(READ_ONCE(rc->idle_seq)));
	fetch_add(&rc->idle_seq, 1);
}

void rcu_idle_exit(void)
{
	struct rcu_cpu *rc = this_cpu_ptr(&rcu_cpu);

	ASSERT(!irqs_enabled() && !in_irq());
	ASSERT(rcu_sample_idle(READ_ONCE(rc->idle_seq)));
	fetch_add(&rc->idle_seq, 1);
}

// The interrupt itself proves that interrupts were on. Preemption was on too if preempt_count holds nothing but this
// interrupt. A CPU that was idle is quiescent whatever preemption depth the idle loop has.
bool rcu_interrupted_quiescent(void)
{
	struct rcu_cpu *rc = this_cpu_ptr(&rcu_cpu);

	bool from_idle = READ_ONCE(rc->depth) == 1 && READ_ONCE(rc->left_idle) & 2;

	return from_idle || this_cpu_read(preempt_count) == HARDIRQ_ONE;
}
