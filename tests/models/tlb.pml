// SPDX-License-Identifier: MIT
// Who has the space loaded, and the shootdown: argument A of mm/tlb.h. CPU 0 loads the space, uses it, enters lazy TLB
// mode and comes back; CPU 1 unlinks two things, each a page or a table, and frees each when its flush has returned.
//
// Models: tlb_join(), tlb_unlazy(), tlb_leave(), tlb_follow(), tlb_flush_here(), flush_begin(), flush_targets()
// (mm/tlb.c), flush_by_ipi(). Asserts: user mode reaches no page that was freed, and no TLB or paging-structure
// cache leads to a table that was freed, not even on a lazy CPU.
//
//! shootdown verified
//! tlb_bit_last found
//! tlb_gen_late found
//! tlb_no_catch_up found
//! tlb_unlazy_no_fence found
//! tlb_lazy_cleared_late found
//! flush_skips_lazy found
//! flush_no_gen found
// The loading of the root drains the buffer, too (SDM vol. 3, 9.3), before anything of the space can be cached.
//! tlb_join_no_fence equivalent
//! tlb_join_no_fence_weak found tlb_join_no_fence root_does_not_drain
// The exchange that clears the entry is LOCKed, but that is not enough: the generation must be seen before `lazy` is
// read.
//! flush_no_gen_fence found
//! flush_no_fence found flush_no_gen_fence unlink_plain
#define NCPU 2
#define EVENTS 5
mtype = { ENTRY0, ENTRY1, CPUS, LAZY, GEN, ANSWERS };
#include "tso.pml"

bit irqs_off, in_irq;			// of CPU 0
bit loaded, root;			// cpu_tlb.loaded; CR3
byte tlb_gen;				// cpu_tlb.gen
bit user;				// a thread of the space runs, in user mode
bit cached[2];				// what CPU 0 has cached of each entry
bit given_back[2], is_table[2];
bit ipi, ipi_tables, ipi_what;		// on its way to CPU 0: struct flush
byte ipi_gen;

#define me 0
active proctype hardware() provided (root)
{
end:	do
	:: d_step { mem[ENTRY0] && !cached[0] -> cached[0] = 1; SAY("hardware caches what ENTRY0 names") }
	:: d_step { mem[ENTRY1] && !cached[1] -> cached[1] = 1; SAY("hardware caches what ENTRY1 names") }
	od
}

#ifdef root_does_not_drain
#define LOAD_ROOT(r, text) d_step { cached[0] = 0; cached[1] = 0; root = r; SAY(text) }
#else
#define LOAD_ROOT(r, text) d_step { DRAINED -> cached[0] = 0; cached[1] = 0; root = r; SAY(text) }
#endif

inline join(scratch)
{
#ifndef tlb_lazy_cleared_late
	ST(LAZY, 0);
#endif
#ifdef tlb_join_no_fence
	ST(CPUS, 1);
#elif !defined(tlb_bit_last)
	OR(CPUS, 1, scratch);
#endif
#ifdef tlb_gen_late
	LOAD_ROOT(1, "loads the space's root");
	LD(GEN, tlb_gen);
#else
	LD(GEN, tlb_gen);
	LOAD_ROOT(1, "loads the space's root");
#endif
	loaded = 1;
#ifdef tlb_bit_last
	OR(CPUS, 1, scratch);
#endif
#ifdef tlb_lazy_cleared_late
	ST(LAZY, 0);
#endif
}

inline leave(scratch)
{
	LOAD_ROOT(0, "loads the kernel's root");
	loaded = 0;
	CLEAR(CPUS, 1, scratch);
}

inline unlazy(scratch)
{
	ST(LAZY, 0);
#ifndef tlb_unlazy_no_fence
	MB();
#endif
	LD(GEN, scratch);
	if
#ifndef tlb_no_catch_up
	:: scratch != tlb_gen ->
		d_step { cached[0] = 0; cached[1] = 0; tlb_gen = scratch; SAY("is behind, and flushes everything") }
#endif
	:: else
	fi
}

#define TO_USER d_step { irqs_off = 0; user = 1; scratch = 0; SAY("to user mode") }
#define SWITCH d_step { irqs_off = 1; user = 0; events++; SAY("switches threads, interrupts off") }
#define USE(i, entry) d_step { events < EVENTS && user && (cached[i] || mem[entry]) -> events++; cached[i] = 1; \
	printf("@0 uses what %e leads to\n", entry); assert(!given_back[i]) }

proctype thread() provided (!in_irq)
{
	byte scratch, events;

	do
	:: events == EVENTS -> break
	:: events < EVENTS && !user ->
		SWITCH;
		if
		:: !loaded -> join(scratch)
		:: loaded -> unlazy(scratch)
		fi;
		TO_USER
	:: events < EVENTS && user ->
		SWITCH;
		ST(LAZY, 1);
		d_step { irqs_off = 0; SAY("a kernel thread runs: the space is held lazily") }
	:: events < EVENTS && user ->		// as tlb_join() of another space ends
		SWITCH;
		leave(scratch);
		d_step { irqs_off = 0; scratch = 0; SAY("a thread of another space runs") }
	:: USE(0, ENTRY0)
	:: USE(1, ENTRY1)
	od
}

// tlb_flush_here()
proctype interrupts()
{
	byte scratch;

end:	do
	:: d_step { ipi && !irqs_off && DRAINED -> ipi = 0; in_irq = 1; SAY("takes the IPI") };
		if
		:: !loaded -> d_step { SAY("has left the space") }
		:: loaded && VIEW(LAZY) && ipi_tables -> leave(scratch)
		:: loaded && VIEW(LAZY) && !ipi_tables -> d_step { SAY("holds the space lazily, and will catch up") }
		:: loaded && !VIEW(LAZY) && tlb_gen >= ipi_gen && !ipi_tables ->
			d_step { SAY("has flushed that already") }
		:: loaded && !VIEW(LAZY) && (tlb_gen < ipi_gen || ipi_tables) && tlb_gen + 1 == ipi_gen ->
			d_step { cached[ipi_what] = 0; tlb_gen = ipi_gen; SAY("flushes the range") }
		:: loaded && !VIEW(LAZY) && (tlb_gen < ipi_gen || ipi_tables) && tlb_gen + 1 != ipi_gen ->
			LD(GEN, scratch);
			d_step { cached[0] = 0; cached[1] = 0; tlb_gen = scratch; SAY("flushes everything") }
		fi;
		ADD(ANSWERS, 1, scratch);
		d_step { in_irq = 0; scratch = 0; SAY("returns from the interrupt") }
	od
}
#undef me

#define me 1
proctype unmapper()
{
	byte what, gen, target, scratch;

	do
	:: what == 2 -> break
	:: what < 2 ->
		if
		:: is_table[what] = 0
		:: is_table[what] = 1
		fi;
#ifdef unlink_plain
		if :: what -> ST(ENTRY1, 0) :: else -> ST(ENTRY0, 0) fi;
#else
		if :: what -> XCHG(ENTRY1, 0, scratch) :: else -> XCHG(ENTRY0, 0, scratch) fi;
#endif
#ifdef flush_no_gen_fence
		d_step { buffered[me] < DEPTH -> gen = VIEW(GEN) + 1 };
		ST(GEN, gen);
#elif !defined(flush_no_gen)
		ADD(GEN, 1, gen);
		gen++;
#endif
		LD(CPUS, target);
		if
#ifndef flush_skips_lazy
		:: target && !is_table[what] ->
#else
		:: target ->
#endif
			LD(LAZY, scratch);
			target = !scratch
		:: else
		fi;
		if
		:: target ->
			d_step { DRAINED -> mem[ANSWERS] = 0; ipi = 1; ipi_gen = gen; ipi_tables = is_table[what];
				ipi_what = what; SAY("sends the shootdown IPI") };
			AWAIT(ANSWERS, mem[ANSWERS] == 1)
		:: else
		fi;
		d_step { given_back[what] = 1; printf("@1 frees what ENTRY%d named\n", what);
			assert(!(is_table[what] && cached[what])) };
		d_step { what++; gen = 0; target = 0; scratch = 0 }
	od
}
#undef me

init
{
	atomic { mem[ENTRY0] = 1; mem[ENTRY1] = 1; run thread(); run interrupts(); run unmapper() }
}
