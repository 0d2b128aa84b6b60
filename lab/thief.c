// SPDX-License-Identifier: MIT
// The thief. When it preempts a CPU, that CPU goes through three states:
//
//   thief_rob()        the CPU's NMI handler                                          NMI handler, at the end
//   FREE ──────> ASKED ─────────────────────> ROBBED (preempted = PREEMPTED; spin) ──────────────────────────> FREE
//                                                     (old = xchg(preempted, 0); old & FLUSH_TLB: flush)
//
// While a CPU spins there it takes no other NMI; one that comes is kept until the end, as it would be for a vCPU that
// does not run. The spin touches nothing but its own words and the clock, so the CPU may hold any lock.
#include "lab/thief.h"
#include "kernel/panic.h"
#include "kernel/rcu/rcu.h"
#include "kernel/steal.h"
#include "kernel/time.h"
#include "lab/counter.h"
#include "lab/irqsoff.h"
#include "lab/mutant.h"
#include "lab/stall.h"
#include "lab/trace.h"
#include "mm/inval.h"
#include <arch/ipi.h>
#include <arch/machine.h>

enum theft_state { THEFT_FREE, THEFT_ASKED, THEFT_ROBBED };
struct theft {
	u32 state;	// FREE: this belongs to the next thief_rob(); ASKED: to the CPU's NMI handler, until FREE again
	u32 released;
	u64 ns;		// how long; 0: until released
	u64 until;	// now_ns(); 0: no such limit. Written by the handler, and by thief_release_in()
};
static DEFINE_PER_CPU(struct theft, theft);

bool thief_works(void) { return steal_owner() == STEAL_THIEF; }

static bool theft_over(const struct theft *t)
{
	u64 until = READ_ONCE(t->until);

	return READ_ONCE(t->released) || panic_in_progress() || (until && now_ns() >= until);
}

// RCU must not see this NMI: a CPU that is preempted in idle counts as idle, and one preempted in a reader as a reader.
static void be_away(const struct theft *t)
{
	rcu_nmi_exit();
	spin_until(theft_over(t), "the thief's release", cpu_id());
	if (panic_in_progress())	// the NMI that is to stop us waits for the end of this one
		panic_stop_this_cpu();
	rcu_nmi_enter();
}

// By one exchange. KVM once did it by a load and a store.
static u8 clear_preempted(u8 *preempted)
{
	u8 seen = READ_ONCE(*preempted);

	STALL(steal_returning, NULL, 0, 0);	// no longer preempted; the record has been read, and not yet cleared
	if (!MUTANT(steal_plain_store))	// CVE-2019-3016: a flag that is set between the look and the store is lost
		return xchg(preempted, (u8)0);
	WRITE_ONCE(*preempted, 0);
	return seen;
}

static void account(struct steal_record *r, u64 ns)
{
	WRITE_ONCE(r->version, r->version + 1);		// odd: being written
	smp_wmb();					// pairs with steal_ns()
	WRITE_ONCE(r->ns, r->ns + ns);
	store_release(&r->version, r->version + 1);
}

// What the hypervisor does before it lets the vCPU run again.
static void hypervisors_half(struct steal_record *r, u64 ns)
{
	bool asked = clear_preempted(&r->preempted) & STEAL_FLUSH_TLB;

	if (MUTANT(steal_no_flush))	// the flag is cleared and not honoured
		asked = false;
	if (asked) {
		count(theft_flushes);
		inval_all();
	}
	account(r, ns);
}

static void tell(bool begins)
{
	if (CHECK)
		FOR_EACH_REGISTERED(theft_handlers, theft_handler_fn, handler)
			(*handler)(begins);
}

static void be_robbed(struct theft *t, u64 start)
{
	struct steal_record *r = this_cpu_ptr(&steal_record);

	tell(true);
	trace(EV_THEFT_BEGIN, 0);
	// A release: for a CPU that sees it, every access of this CPU before the preemption has been made.
	store_release(&r->preempted, (u8)STEAL_PREEMPTED);
	store_release(&t->state, (u32)THEFT_ROBBED);
	be_away(t);
	hypervisors_half(r, now_ns() - start);
	trace(EV_THEFT_END, 0);
	tell(false);
}

static void thief_nmi(void)
{
	struct theft *t = this_cpu_ptr(&theft);
	u64 start, start_cycles;

	if (load_acquire(&t->state) != THEFT_ASKED)	// pairs with thief_rob(): t->ns is set
		return;
	start_cycles = cycles();	// first, so that irqsoff forgives all of the time that was stolen
	start = now_ns();
	WRITE_ONCE(t->until, t->ns ? start + t->ns : 0);
	count(thefts);
	be_robbed(t, start);
	irqsoff_forgive(cycles() - start_cycles);
	store_release(&t->state, (u32)THEFT_FREE);
}
NMI_HANDLER(thief_nmi);

static u32 state_of(unsigned cpu) { return load_acquire(&per_cpu(theft, cpu).state); }

void thief_rob(unsigned cpu, u64 ns)
{
	struct theft *t = per_cpu_ptr(&theft, cpu);
	bool self = cpu == cpu_id();
	irqflags_t flags = irq_save();		// so that the own CPU is preempted here, not in an interrupt handler

	ASSERT(thief_works() && !in_nmi() && state_of(cpu) == THEFT_FREE);
	t->ns = ns;
	WRITE_ONCE(t->released, 0);
	store_release(&t->state, (u32)THEFT_ASKED);
	arch_send_ipi(cpu, IPI_NMI);
	if (self)
		thief_wait_back(cpu);
	irq_restore(flags);
}

void thief_release(unsigned cpu) { WRITE_ONCE(per_cpu(theft, cpu).released, 1); }
void thief_release_in(unsigned cpu, u64 ns) { WRITE_ONCE(per_cpu(theft, cpu).until, now_ns() + ns); }
bool thief_robs(unsigned cpu) { return state_of(cpu) == THEFT_ROBBED; }
void thief_wait_robbed(unsigned cpu) { spin_until(thief_robs(cpu), "the thief", cpu); }
void thief_wait_back(unsigned cpu) { spin_until(state_of(cpu) == THEFT_FREE, "the end of its preemption", cpu); }
u64 thief_stolen_ns(unsigned cpu) { return steal_ns(cpu); }
