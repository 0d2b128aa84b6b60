// SPDX-License-Identifier: MIT
// Two CPUs: CPU 0 walks, CPU 1 frees. What may happen to CPU 0 at any instruction: IPIs and ticks while its interrupts
// are on, NMIs, preemption by a hypervisor; and what the hardware of both may cache. Included after tso.pml.
//
// Models: kernel/xcall.c (a request is pushed and taken by LOCKed instructions; the answer is one, too), sync_ipi(),
// rcu_tick() and a grace period as it looks from outside (proven by rcu.pml), flush_sweep(), the NMI handler of
// mm/flush/nmi.c, lab/thief.c, tlb_flush_here(), and the paging-structure caches (lab/swmmu.c).
#define NO_TABLE 0
#define TABLE 1			// the value of an entry that names the table

bit irqs_off[2], no_preempt[2];		// the walker's context
bit in_irq, in_nmi, robbed;		// of CPU 0; the outer context does not run meanwhile
bit holds_root[2], is_lazy;		// the space's root is in CR3; CPU 0 is in lazy TLB mode
byte cached[2];				// the table that the CPU's paging-structure cache leads to: its birth; 0: none
byte birth = 1;				// of the table
bit is_free;				// the table is FREE
bit ipi, ipi_flushes, nmi;		// on their way to CPU 0. No IPI here is sent before the last one was answered
bit gp_waits;				// a grace period waits for CPU 0

#define TASK_RUNS (!in_irq && !in_nmi && !robbed)
#define IRQ_RUNS (!in_nmi && !robbed)

// A hardware walker caches what memory holds, whenever it likes, as long as its CPU runs.
active proctype hardware()
{
end:	do
#ifdef ONLY_WALKER
	:: false
#else
	:: d_step { !robbed && holds_root[0] && mem[ENTRY] == TABLE && cached[0] == 0 -> cached[0] = birth;
		printf("@0 hardware caches the pointer to the table\n") }
	:: d_step { holds_root[1] && mem[ENTRY] == TABLE && cached[1] == 0 -> cached[1] = birth;
		printf("@1 hardware caches the pointer to the table\n") }
#endif
	od
}

// No CPU that runs may have cached a pointer to a table that is FREE, or that has become another one.
#define LEADS_ASTRAY(c) (cached[c] != 0 && (is_free || cached[c] != birth))

// ---- CPU 0: tlb_flush_here() for freed tables, and what interrupts it -----------------------------------------
#define me 0
inline flush_here_0()
{
	if
	:: holds_root[0] && is_lazy ->
		d_step { cached[0] = 0; holds_root[0] = 0; SAY("leaves the space that it holds lazily") };
		CLEAR(CPUS, 1, irq_byte);
	:: else ->
#if defined(flush_leaf_only) || defined(collapse_keeps_upper)
		SAY("flushes the leaves only");
#else
		d_step { cached[0] = 0; SAY("flushes its TLB and paging-structure caches") };
#endif
	fi;
}

proctype interrupts() provided (IRQ_RUNS)
{
	byte irq_byte, due;

end:	do
	:: d_step { ipi && !irqs_off[0] && DRAINED -> ipi = 0; in_irq = 1;
			SAY("takes the IPI (its queue, by a LOCKed exchange)") }
		if
		:: ipi_flushes -> flush_here_0();
		:: else
		fi;
		ADD(ANSWERS, 1, irq_byte);
		d_step { in_irq = 0; irq_byte = 0; SAY("returns from the interrupt") };
	// A tick, or a context switch: quiescent where it interrupts preemptible code. The locks of RCU's tree drain the
	// buffer.
	:: d_step { gp_waits && !irqs_off[0] && !no_preempt[0] && DRAINED -> gp_waits = 0;
			SAY("tick: reports a quiescent state") }
#if BACKEND == LAZY
	:: d_step { VIEW(DUE) && !irqs_off[0] -> in_irq = 1; SAY("tick: a sweep is due") }
		XCHG(DUE, 0, irq_byte);
		LD(POSTED, due);
		flush_here_0();
		ST(SWEPT, due);
		d_step { in_irq = 0; irq_byte = 0; due = 0; SAY("the sweep has ended") };
#endif
	od
}

#if BACKEND == NMI
proctype nmi_handler() provided (!robbed)
{
	byte requested;

end:	do
	:: d_step { nmi && !in_nmi -> nmi = 0; in_nmi = 1; SAY("takes the NMI") }
		LD(REQUESTED, requested);
		if
		:: requested != VIEW(SERVED) ->
#ifndef nmi_no_flush
			d_step { cached[0] = 0; SAY("flushes its TLB and paging-structure caches") };
#endif
			ST(SERVED, requested);
		:: else
		fi;
		d_step { in_nmi = 0; requested = 0; SAY("returns from the NMI") };
	od
}
#endif

#if BACKEND == PV || BACKEND == HYPERV || BACKEND == XEN
#define PREEMPTED 1
#define FLUSH_TLB 2
proctype thief()
{
	byte seen, round;

	do
	:: round < THEFTS && !in_nmi ->
		d_step { robbed = 1; SAY("is preempted") };
		ST(STEAL, PREEMPTED);
#ifdef steal_plain_store
		LD(STEAL, seen);
		ST(STEAL, 0);
#else
		XCHG(STEAL, 0, seen);
#endif
		if
#ifndef steal_no_flush
		:: seen & FLUSH_TLB -> d_step { cached[0] = 0; SAY("the hypervisor flushes for it") };
#endif
		:: else
		fi;
		d_step { robbed = 0; round++; seen = 0; SAY("runs again");
			assert(!LEADS_ASTRAY(0)) };
	:: round == THEFTS -> break
	od
}
#endif
#undef me

// ---- CPU 1: what the freeing side uses ------------------------------------------------------------------------------
#define me 1
#define SEND_IPI(flushes) d_step { DRAINED -> mem[ANSWERS] = 0; ipi = 1; ipi_flushes = flushes; \
	if :: flushes -> SAY("sends the shootdown IPI") :: else -> SAY("sends the sync IPI") fi }
#define AWAIT_ANSWER AWAIT(ANSWERS, mem[ANSWERS] == 1)

inline sync_ipi()
{
	SEND_IPI(0);
	AWAIT_ANSWER;
}

// synchronize_rcu(), or call_rcu() and its callback.
inline begin_grace_period()
{
	d_step { DRAINED -> gp_waits = 1; SAY("a grace period begins") }
}

inline end_grace_period()
{
	d_step { DRAINED && !gp_waits -> SAY("the grace period has ended") }
}

inline grace_period()
{
	begin_grace_period();
	end_grace_period()
}

inline flush_own_here()
{
#ifdef collapse_keeps_upper
	SAY("flushes its own leaves only");
#else
	d_step { cached[1] = 0; SAY("flushes its own TLB and paging-structure caches") };
#endif
}
#undef me
