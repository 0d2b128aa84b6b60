// SPDX-License-Identifier: MIT
// A CPU goes from one space to another: whose mask is it in, and whose generation does it have? CPU 0 runs in space A, in
// space B, in none (in lazy TLB mode), or leaves for the kernel's root, in any order; CPU 1 unlinks something from A
// and something from B, each a page or a table, and frees it when the flush has returned.
//
// Models: tlb_join() from another space, tlb_leave(), tlb_unlazy(), flush_own(), flush_begin(), flush_targets() (mm/tlb.c).
// Asserts: user mode reaches no page that was freed, and no TLB or paging-structure cache leads to a table that was
// freed. What concerns one space alone is in tlb.pml.
//
//! from-A-to-B verified
//! switch_old_bit_first found
//! switch_new_bit_last found
//! switch_keeps_gen found
//! switch_lazy_late found
//! leave_bit_first found
//! flush_own_unasked found
// The old bit must not be cleared before the load; how long after it does not matter: a bit too many costs an IPI.
//! switch_old_bit_late equivalent
#define NCPU 2
#define EVENTS 5
mtype = { ENTRY_B, ENTRY_A, CPUS_B, CPUS_A, GEN_B, GEN_A, LAZY, ANSWERS };	// numbered from the end: B's is A's + 1
#include "tso.pml"

#define NONE 2
bit irqs_off, in_irq;			// of CPU 0
byte loaded = NONE, root = NONE;	// cpu_tlb.loaded; CR3: 0 (A), 1 (B), or the kernel's
byte tlb_gen;				// cpu_tlb.gen
bit user;				// a thread of `loaded` runs, in user mode
bit cached[2];				// what CPU 0 has cached of each space's entry
bit given_back[2], is_table[2];
bit ipi, ipi_tables, ipi_space;		// on its way to CPU 0: struct flush
byte ipi_gen;

#define me 0
active proctype hardware() provided (root != NONE)
{
end:	do
	:: d_step { mem[ENTRY_A + root] && !cached[root] -> cached[root] = 1; SAY("hardware caches what its space's entry names") }
	od
}

#define FLUSH_ALL cached[0] = 0; cached[1] = 0
#define LOAD_ROOT(r) d_step { DRAINED -> FLUSH_ALL; root = r; printf("@0 loads root %d\n", r) }

inline leave(scratch)
{
#ifdef leave_bit_first
	CLEAR(CPUS_A + loaded, 1, scratch);
#endif
	LOAD_ROOT(NONE);
#ifndef leave_bit_first
	CLEAR(CPUS_A + loaded, 1, scratch);
#endif
	loaded = NONE
}

// tlb_join()
inline join(to, old, scratch)
{
	old = loaded;
#ifndef switch_lazy_late
	ST(LAZY, 0);
#endif
#ifndef switch_new_bit_last
	OR(CPUS_A + to, 1, scratch);
#endif
#ifdef switch_old_bit_first
	if :: old != NONE -> CLEAR(CPUS_A + old, 1, scratch) :: else fi;
#endif
#ifndef switch_keeps_gen
	LD(GEN_A + to, tlb_gen);
#endif
	LOAD_ROOT(to);
	loaded = to;
#ifdef switch_lazy_late
	ST(LAZY, 0);
#endif
#ifdef switch_new_bit_last
	OR(CPUS_A + to, 1, scratch);
#endif
#if !defined(switch_old_bit_first) && !defined(switch_old_bit_late)
	if :: old != NONE -> CLEAR(CPUS_A + old, 1, scratch) :: else fi;
#endif
	d_step { irqs_off = 0; user = 1; scratch = 0; SAY("to user mode") }
#ifdef switch_old_bit_late
	;
	if :: old != NONE -> CLEAR(CPUS_A + old, 1, scratch) :: else fi;
	scratch = 0
#endif
	;
	old = 0
}

inline unlazy(scratch)
{
	ST(LAZY, 0);
	MB();
	LD(GEN_A + loaded, scratch);
	if
	:: scratch != tlb_gen -> d_step { FLUSH_ALL; tlb_gen = scratch; SAY("is behind, and flushes everything") }
	:: else
	fi;
	d_step { irqs_off = 0; user = 1; scratch = 0; SAY("to user mode") }
}

#define SWITCH d_step { irqs_off = 1; user = 0; events++; SAY("switches threads, interrupts off") }

proctype thread() provided (!in_irq)
{
	byte scratch, old, events;

	do
	:: events == EVENTS -> break
	:: events < EVENTS ->
		SWITCH;
		if
		:: loaded != 0 -> join(0, old, scratch)
		:: loaded != 1 -> join(1, old, scratch)
		:: loaded != NONE && VIEW(LAZY) -> unlazy(scratch)
		:: loaded != NONE && !VIEW(LAZY) ->
			ST(LAZY, 1);
			d_step { irqs_off = 0; SAY("a kernel thread runs: the space is held lazily") }
		:: loaded != NONE && VIEW(LAZY) ->	// about_to_idle()
			leave(scratch);
			d_step { irqs_off = 0; scratch = 0; SAY("idles, in no space") }
		fi
	:: d_step { events < EVENTS && user && (cached[loaded] || mem[ENTRY_A + loaded]) -> events++; cached[loaded] = 1;
		SAY("uses what its space's entry leads to"); assert(!given_back[loaded]) }
	od
}

#ifdef flush_own_unasked
#define CONCERNED (loaded != NONE)
#else
#define CONCERNED (loaded == ipi_space)
#endif

// flush_own()
proctype interrupts()
{
	byte scratch;

end:	do
	:: d_step { ipi && !irqs_off && DRAINED -> ipi = 0; in_irq = 1; SAY("takes the IPI") };
		if
		:: !CONCERNED -> d_step { SAY("has left the space") }
		:: CONCERNED && VIEW(LAZY) && ipi_tables -> leave(scratch)
		:: CONCERNED && VIEW(LAZY) && !ipi_tables -> d_step { SAY("holds the space lazily, and will catch up") }
		:: CONCERNED && !VIEW(LAZY) && tlb_gen >= ipi_gen && !ipi_tables -> d_step { SAY("has flushed that already") }
		:: CONCERNED && !VIEW(LAZY) && (tlb_gen < ipi_gen || ipi_tables) ->
			if
			:: tlb_gen + 1 == ipi_gen ->
				d_step { cached[ipi_space] = 0; tlb_gen = ipi_gen; SAY("flushes the range") }
			:: else ->
				LD(GEN_A + loaded, scratch);
				d_step { FLUSH_ALL; tlb_gen = scratch; SAY("flushes everything") }
			fi
		fi;
		ADD(ANSWERS, 1, scratch);
		d_step { in_irq = 0; scratch = 0; SAY("returns from the interrupt") }
	od
}
#undef me

#define me 1
proctype unmapper()
{
	byte what, gen, target, scratch, done;

	do
	:: done == 2 -> break
	:: done < 2 ->
		if
		:: done == 0 -> what = 0
		:: done == 0 -> what = 1
		:: else -> what = 1 - what
		fi;
		if
		:: is_table[what] = 0
		:: is_table[what] = 1
		fi;
		XCHG(ENTRY_A + what, 0, scratch);
		ADD(GEN_A + what, 1, gen);
		gen++;
		LD(CPUS_A + what, target);
		if
		:: target && !is_table[what] ->
			LD(LAZY, scratch);
			target = !scratch
		:: else
		fi;
		if
		:: target ->
			d_step { DRAINED -> mem[ANSWERS] = 0; ipi = 1; ipi_gen = gen; ipi_tables = is_table[what];
				ipi_space = what; SAY("sends the shootdown IPI") };
			AWAIT(ANSWERS, mem[ANSWERS] == 1)
		:: else
		fi;
		d_step { given_back[what] = 1; printf("@1 frees what ENTRY_%c named\n", 65 + what);
			assert(!(is_table[what] && cached[what])) };
		d_step { done++; gen = 0; target = 0; scratch = 0 }
	od
}
#undef me

init
{
	atomic { mem[ENTRY_A] = 1; mem[ENTRY_B] = 1; run thread(); run interrupts(); run unmapper() }
}
