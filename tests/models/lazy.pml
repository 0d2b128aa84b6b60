// SPDX-License-Identifier: MIT
// The sweep protocol of tlb_flush=lazy: CPU 1 posts two records, one after the other, and completes each when it may;
// CPU 0 sweeps at ticks and switches, leaves the space and comes back.
//
// Models: post(), deferred_defer(), has_swept(), finish(), deferred_sweep() (mm/flush/lazy.c), flush_sweep_due(),
// flush_ask_sweep() (mm/flush/flush.c), tlb_flush_all_here(),
// tlb_join(), tlb_leave() (mm/tlb.c). Asserts: CPU 0 uses no page that was freed. Each record is completed (otherwise
// the model hangs).
//
//! sweeps verified
//! lazy_no_wait found
//! lazy_late_generation found
//! lazy_flush_first found
//! lazy_due_cleared_late hangs
//! lazy_due_plain_clear hangs
//! lazy_posted_late hangs
// Both are stores of one CPU: they reach memory in their order in any case.
//! lazy_due_plain_set equivalent
#define NCPU 2
#define SWITCHES 3
mtype = { ENTRY0, ENTRY1, CPUS, DUE, POSTED, SWEPT };
#include "tso.pml"

bit root;			// CPU 0 has the space loaded
bit cached[2];			// what CPU 0 has cached of each entry
bit given_back[2];
bit posted[2];			// the records

#define me 0
// User code and speculation alike: whatever is cached may be used.
proctype hardware() provided (root)
{
end:	do
	:: d_step { mem[ENTRY0] && !cached[0] -> cached[0] = 1; SAY("caches what ENTRY0 maps") }
	:: d_step { mem[ENTRY1] && !cached[1] -> cached[1] = 1; SAY("caches what ENTRY1 maps") }
	:: d_step { cached[0] && given_back[0] -> SAY("uses a page that has been freed"); assert(false) }
	:: d_step { cached[1] && given_back[1] -> SAY("uses a page that has been freed"); assert(false) }
	od
}

#define FLUSH d_step { cached[0] = 0; cached[1] = 0; SAY("flushes everything") }

inline sweep(seen, old)
{
#if !defined(lazy_due_cleared_late) && !defined(lazy_due_plain_clear)
	XCHG(DUE, 0, old);
#endif
#ifdef lazy_due_plain_clear
	ST(DUE, 0);
#endif
#ifdef lazy_flush_first
	FLUSH;
	LD(POSTED, seen);
#else
	LD(POSTED, seen);
	FLUSH;
#endif
#ifdef lazy_due_cleared_late
	XCHG(DUE, 0, old);
#endif
#ifdef lazy_late_generation
	LD(POSTED, seen);
#endif
	ST(SWEPT, seen);
	seen = 0; old = 0
}

proctype sweeper()
{
	byte seen, old, switches;

end:	do
	:: d_step { VIEW(DUE) -> SAY("tick: a sweep is due") };
		sweep(seen, old)
	:: d_step { switches < SWITCHES -> switches++; SAY("switches threads, interrupts off") };
		if
		:: VIEW(DUE) -> sweep(seen, old)
		:: else
		fi;
		if
		:: root ->
			d_step { DRAINED -> cached[0] = 0; cached[1] = 0; root = 0; SAY("leaves the space") };
			CLEAR(CPUS, 1, old);
		:: !root ->
			OR(CPUS, 1, old);
			d_step { DRAINED -> root = 1; SAY("loads the space's root") };
		:: skip			// to a thread of the same space
		fi;
		old = 0
	od
}
#undef me

#define me 1
#define GIVE_BACK(i) d_step { given_back[i] = 1; printf("@1 frees the page of ENTRY%d\n", i) }

inline post(i, entry)
{
	XCHG(entry, 0, old);
	MB();					// space->gen++
	LD(CPUS, old);
	if
	:: old ->
#ifdef lazy_posted_late
		XCHG(DUE, 1, old);
		ST(POSTED, i + 1);
#elif defined(lazy_due_plain_set)
		ST(POSTED, i + 1);
		ST(DUE, 1);
#else
		ST(POSTED, i + 1);
		XCHG(DUE, 1, old);
#endif
		posted[i] = 1
	:: else -> GIVE_BACK(i)
	fi;
	old = 0
}

proctype poster()
{
	byte old;

	post(0, ENTRY0);
	post(1, ENTRY1)
}

// The lazy thread, or a thread that waits: it has to complete each record.
proctype finisher()
{
	do
#ifdef lazy_no_wait
	:: d_step { posted[0] && !given_back[0] -> GIVE_BACK(0) }
#else
	:: d_step { posted[0] && !given_back[0] && (VIEW(SWEPT) >= 1 || !VIEW(CPUS)) -> GIVE_BACK(0) }
#endif
	:: d_step { posted[1] && !given_back[1] && (VIEW(SWEPT) >= 2 || !VIEW(CPUS)) -> GIVE_BACK(1) }
	:: given_back[0] && given_back[1] -> break
	od
}
#undef me

init
{
	atomic {
		mem[ENTRY0] = 1; mem[ENTRY1] = 1; mem[CPUS] = 1; root = 1;
		run hardware(); run sweeper(); run poster(); run finisher()
	}
}
