// SPDX-License-Identifier: MIT
// The handshake over a steal-time record: CPU 1 flushes twice, by flag where CPU 0 is preempted, otherwise by IPI;
// the hypervisor that has preempted CPU 0 lets it run again in between.
//
// Models: steal_flush_later() (kernel/steal.c), flush_pv() (mm/flush/pv.c), thief_nmi(), hypervisors_half(),
// clear_preempted() (lab/thief.c; as KVM's record_steal_time()). Asserts: when CPU 0 runs it has nothing cached of a
// page that was freed.
//
//! handshake verified
//! steal_plain_store found
//! steal_no_flush found
//! steal_no_flag found
//! steal_flag_plain found
//! steal_flush_first found
// A flusher that finds the flag set has found it before the owner's exchange, and its own change of the entry was
// LOCKed.
//! steal_flag_trusted equivalent
// Whether the record says late or early that CPU 0 is preempted does not matter while it does not run.
//! steal_preempted_drains equivalent
#define NCPU 2
#define THEFTS 3
mtype = { ENTRY0, ENTRY1, PREEMPTED, ANSWERS };
#include "tso.pml"

#define ROBBED 1		// STEAL_PREEMPTED
#define FLUSH_TLB 2		// STEAL_FLUSH_TLB

bit robbed;			// CPU 0
bit cached[2], given_back[2];
bit ipi;

#define me 0
#define RUNS_RIGHT assert(!(cached[0] && given_back[0]) && !(cached[1] && given_back[1]))

proctype hardware() provided (!robbed)
{
end:	do
	:: d_step { mem[ENTRY0] && !cached[0] -> cached[0] = 1; SAY("caches what ENTRY0 maps") }
	:: d_step { mem[ENTRY1] && !cached[1] -> cached[1] = 1; SAY("caches what ENTRY1 maps") }
	od
}

proctype interrupts() provided (!robbed)
{
	byte old;

end:	do
	:: d_step { ipi && DRAINED -> ipi = 0; SAY("takes the IPI") };
		d_step { cached[0] = 0; cached[1] = 0; SAY("flushes everything") };
		ADD(ANSWERS, 1, old);
		old = 0
	od
}

proctype owner()
{
	byte seen, thefts;

	do
	:: thefts < THEFTS ->
		d_step { robbed = 1; SAY("is preempted") };
		ST(PREEMPTED, ROBBED);
#ifdef steal_preempted_drains
		MB();
#endif
#ifdef steal_flush_first
		LD(PREEMPTED, seen);
		if
		:: seen & FLUSH_TLB -> d_step { cached[0] = 0; cached[1] = 0; SAY("the hypervisor flushes") }
		:: else
		fi;
#endif
#ifdef steal_plain_store
		LD(PREEMPTED, seen);
		ST(PREEMPTED, 0);
#else
		XCHG(PREEMPTED, 0, seen);
#endif
		if
#if !defined(steal_no_flush) && !defined(steal_flush_first)
		:: seen & FLUSH_TLB -> d_step { cached[0] = 0; cached[1] = 0; SAY("the hypervisor flushes") };
#endif
		:: else
		fi;
		d_step { robbed = 0; thefts++; seen = 0; SAY("runs again"); RUNS_RIGHT }
	:: else -> break
	od
}
#undef me

#define me 1
inline flush(seen, done)
{
	done = 0;
	do
	:: done -> break
	:: else ->
		LD(PREEMPTED, seen);
		if
		:: !(seen & ROBBED) ->
			d_step { DRAINED -> mem[ANSWERS] = 0; ipi = 1; SAY("sends the shootdown IPI") };
			AWAIT(ANSWERS, mem[ANSWERS] == 1);
			done = 1
#ifdef steal_flag_trusted
		:: seen & FLUSH_TLB -> done = 1		// another flusher has set the flag already
#endif
		:: else ->
#ifdef steal_no_flag
			done = 1
#elif defined(steal_flag_plain)
			ST(PREEMPTED, seen | FLUSH_TLB);
			done = 1
#else
			CMPXCHG(PREEMPTED, seen, seen | FLUSH_TLB, done);
#endif
		fi
	od;
	seen = 0
}

#define GIVE_BACK(i) d_step { given_back[i] = 1; printf("@1 frees the page of ENTRY%d\n", i); \
	assert(robbed || !cached[i]) }

proctype flusher()
{
	byte seen;
	bit done;

	XCHG(ENTRY0, 0, seen);
	flush(seen, done);
	GIVE_BACK(0);
	XCHG(ENTRY1, 0, seen);
	flush(seen, done);
	GIVE_BACK(1)
}
#undef me

init
{
	atomic { mem[ENTRY0] = 1; mem[ENTRY1] = 1; run hardware(); run interrupts(); run owner(); run flusher() }
}
