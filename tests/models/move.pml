// SPDX-License-Identifier: MIT
// Moves there and back: CPU 1 moves a table from BASE to FAR and back, and changes its leaf at either place. CPU 0
// walks for BASE and pins. When it reads the leaf and the entry above again, neither shows that the table was elsewhere
// in between. The space's count of moves does.
//
// Models: walk_body_one(), walk_take(), walk_moves() (mm/walk_body.h), each policy's `enter` and `step`; note_move(),
// move_entry(), space_move() (mm/move.c) with its flush; populate_one(), space_protect() (mm/space.c);
// space_discard(); page_try_get().
// Asserts: the page that a walk returns was mapped at BASE, with the permission that was asked for, at some instant of
// the walk. A frame that has been freed and allocated again is another page.
//
// Why so small:
// - A CPU that changes the tree holds the space's lock, and sees all that was stored under it before: one CPU stands
//   for all of them. It does the operations in every order.
// - A discard puts the frame at any later time. That also stands for other CPUs' pins, which keep it from being free.
// - The table is never freed: pair.pml has that. Nor is the upper table at the old place, which a move may detach: the
//   walker then reads its entry again in the detached one, where it stays 0.
// - A large leaf at level 2 is itself the entry that moves: the walker reads it at BASE both times.
// - A leaf that moves by itself, in a table that stays, is a change of the leaf: cleared here, written elsewhere.
// - The flush of a leaf is left out. It can only make CPU 1 wait.
// - Policies differ in who waits for their walkers, and nobody waits for those of `immediate`. So it also stands for
//   rcu-sync, rcu-page, rcu-proxy and keep, which differ from it in how they free; and targeted stands for auto.
// - A further page of the same walk is another leaf, under the same checks of the parent and the count.
// - There are at most four moves, three changes of the leaf and one other use of the frame.
//
//! immediate verified POLICY=IMMEDIATE BACKEND=IPI
//! ipi verified POLICY=POLICY_IPI BACKEND=IPI MOVES_AT_MOST=3 CHANGES_AT_MOST=2
//! rcu verified POLICY=RCU BACKEND=IPI MOVES_AT_MOST=3 CHANGES_AT_MOST=2
//! targeted verified POLICY=TARGETED BACKEND=IPI MOVES_AT_MOST=3 CHANGES_AT_MOST=2
//! hazard verified POLICY=HAZARD BACKEND=IPI MOVES_AT_MOST=3 CHANGES_AT_MOST=2
//! epoch verified POLICY=EPOCH BACKEND=IPI MOVES_AT_MOST=3 CHANGES_AT_MOST=2
// Without the count a walk returns a page that never was at BASE (ASK_MAPPED asserts only that), or a permission that
// the page never had there.
//! walk_no_moves_recheck found POLICY=IMMEDIATE BACKEND=IPI
//! no-moves-mapped found POLICY=IMMEDIATE BACKEND=IPI walk_no_moves_recheck ASK_MAPPED
//! no-moves-rcu found POLICY=RCU BACKEND=IPI walk_no_moves_recheck
//! no-moves-targeted found POLICY=TARGETED BACKEND=IPI walk_no_moves_recheck
//! no-moves-hazard found POLICY=HAZARD BACKEND=IPI walk_no_moves_recheck
// To check the parent first and the leaf second cures the former, but not the latter. Even with the count it is wrong:
// a move that is under way at the first look at the count may take the table away between the two. A first look before
// the entry is read detects that.
//! parent-first-mapped verified POLICY=IMMEDIATE BACKEND=IPI walk_no_moves_recheck walk_parent_first ASK_MAPPED
//! parent-first found POLICY=IMMEDIATE BACKEND=IPI walk_no_moves_recheck walk_parent_first
//! walk_parent_first found POLICY=IMMEDIATE BACKEND=IPI
//! parent-first-read-first verified POLICY=IMMEDIATE BACKEND=IPI walk_parent_first moves_read_before_entry
// Besides the count, the other two checks are needed, too.
//! walk_no_leaf_recheck found POLICY=IMMEDIATE BACKEND=IPI
//! walk_no_parent_recheck found POLICY=IMMEDIATE BACKEND=IPI
// The last look at the count must come after both checks.
//! moves_compared_first found POLICY=IMMEDIATE BACKEND=IPI moves_read_before_entry
//! moves_compared_early found POLICY=IMMEDIATE BACKEND=IPI moves_read_before_entry
//! parent-moves-leaf found POLICY=IMMEDIATE BACKEND=IPI walk_parent_first moves_compared_early moves_read_before_entry
// The first look must come before the leaf is read again, and need not come earlier: a count that is raised under the
// lock and before the entry is written shows each table that comes back. If it is raised after that, only a walker that
// looks before it reads the entry can see it. If it is raised where the lock is not held, a walker can miss it.
//! moves_read_before_entry equivalent POLICY=IMMEDIATE BACKEND=IPI
//! moves_read_after_leaf found POLICY=IMMEDIATE BACKEND=IPI
//! moves_raised_after_clear equivalent POLICY=IMMEDIATE BACKEND=IPI
//! moves_raised_last found POLICY=IMMEDIATE BACKEND=IPI
//! moves-raised-last-read-first verified POLICY=IMMEDIATE BACKEND=IPI moves_raised_last moves_read_before_entry
//! moves_raised_before_lock found POLICY=IMMEDIATE BACKEND=IPI
//! moves_raised_after_unlock found POLICY=IMMEDIATE BACKEND=IPI
// The other cure: the mover waits for the walkers before it drops the lock. Its flush is such a wait for those that it
// makes its targets and that answer only after their walks.
//! no-moves-ipi verified POLICY=POLICY_IPI BACKEND=IPI walk_no_moves_recheck
//! no-moves-ipi-no-parent verified POLICY=POLICY_IPI BACKEND=IPI walk_no_moves_recheck walk_no_parent_recheck
//! no-moves-ipi-no-join found POLICY=POLICY_IPI BACKEND=IPI walk_no_moves_recheck ipi_no_join
//! no-moves-ipi-late-flush found POLICY=POLICY_IPI BACKEND=IPI walk_no_moves_recheck move_flush_after_unlock
// An NMI is answered in the middle of a walk. So, in effect, are `pv`, `hyperv` and `xen`: the CPU is preempted, or not
// asked at all.
//! no-moves-ipi-nmi found POLICY=POLICY_IPI BACKEND=NMI walk_no_moves_recheck MOVES_AT_MOST=2 CHANGES_AT_MOST=2
//! wait-before-write verified POLICY=RCU BACKEND=IPI walk_no_moves_recheck move_waits_between
//! wait-before-unlock verified POLICY=RCU BACKEND=IPI walk_no_moves_recheck move_waits_last
//! slow ipi rcu targeted hazard epoch parent-first-read-first moves_* moves-* no-moves-* wait-*
#define NCPU 2
#ifndef MOVES_AT_MOST
#define MOVES_AT_MOST 4
#endif
#ifndef CHANGES_AT_MOST
#define CHANGES_AT_MOST 3
#endif
#define ONLY_WALKER		// what hardware caches is modelled in pair.pml
mtype = { ENTRY, FAR_ENTRY, LEAF, REFS, MOVES, CPUS, WALKERS, SLOT, ANSWERS, REQUESTED, SERVED };
#include "tso.pml"
#include "numbers.pml"
#include "machine.pml"
#include "flush.pml"
#include "policy.pml"

#define READ_ONLY 1		// the value of a leaf that maps the page; 0: none
#define WRITABLE 2

// How the page has been mapped at BASE since the walk began: READ_ONLY | WRITABLE, by what was permitted. Each change
// that may map it there does NOTE in the same step.
byte mapped_as;
bit walking;
#define NOTE \
	if \
	:: walking && mem[ENTRY] == TABLE && mem[LEAF] -> mapped_as = mapped_as | (mem[LEAF] == WRITABLE -> 3 : 1) \
	:: else \
	fi

// When the walker looks at the count.
#if defined(walk_no_moves_recheck)
#define FIRST_LOOK NEVER
#elif defined(moves_read_before_entry)
#define FIRST_LOOK BEFORE_ENTRY
#elif defined(moves_read_after_leaf)
#define FIRST_LOOK AFTER_LEAF
#else
#define FIRST_LOOK AFTER_GET
#endif
#if defined(walk_no_moves_recheck)
#define LAST_LOOK NEVER
#elif defined(moves_compared_first)
#define LAST_LOOK AFTER_GET
#elif defined(moves_compared_early)
#define LAST_LOOK AFTER_ONE
#else
#define LAST_LOOK AFTER_BOTH
#endif
#define NEVER 0
#define BEFORE_ENTRY 1
#define AFTER_GET 2
#define AFTER_LEAF 3
#define AFTER_ONE 4
#define AFTER_BOTH 5

#define me 0
#define LOOK_AT_MOVES d_step { ok = ok && VIEW(MOVES) == moves; printf("@0 reads MOVES again: %d\n", VIEW(MOVES)) }

inline look_at_leaf()
{
#ifdef walk_no_leaf_recheck
	skip
#else
	d_step { ok = ok && VIEW(LEAF) == value; printf("@0 reads LEAF again: %d\n", VIEW(LEAF)) }
#endif
}

inline look_at_parent()
{
#ifdef walk_no_parent_recheck
	skip
#else
	d_step { ok = ok && VIEW(ENTRY) == TABLE; printf("@0 reads ENTRY again: %d\n", VIEW(ENTRY)) }
#endif
}

inline take()
{
	d_step { DRAINED -> ok = (mem[REFS] > 0);		// try-get: never 0 -> 1
		if :: ok -> mem[REFS] = mem[REFS] + 1 :: else fi;
		printf("@0 LOCKed: takes a reference to the page: %d\n", ok) };
	if
	:: ok ->
#if FIRST_LOOK == AFTER_GET
		LD(MOVES, moves);
#endif
#if LAST_LOOK == AFTER_GET
		LOOK_AT_MOVES;
#endif
#ifdef walk_parent_first
		look_at_parent();
#else
		look_at_leaf();
#endif
#if FIRST_LOOK == AFTER_LEAF
		LD(MOVES, moves);
#endif
#if LAST_LOOK == AFTER_ONE
		LOOK_AT_MOVES;
#endif
#ifdef walk_parent_first
		look_at_leaf();
#else
		look_at_parent();
#endif
#if LAST_LOOK == AFTER_BOTH
		LOOK_AT_MOVES;
#endif
		if
		:: ok -> d_step { SAY("has pinned the page");
#ifdef ASK_MAPPED
			assert(mapped_as) }
#else
			assert(mapped_as & permission) }
#endif
		:: else
		fi;
		d_step { DRAINED -> mem[REFS] = mem[REFS] - 1; SAY("drops the reference") }
	:: else
	fi
}

proctype walker() provided (TASK_RUNS)
{
	byte permission = READ_ONLY, value, moves, scratch;
	bit ok;

	if
	:: permission = WRITABLE
	:: skip
	fi;
	d_step { no_preempt[0] = 1; walking = 1; NOTE; printf("@0 begins a walk for %d, preemption off\n", permission) };
	enter(SLOT, scratch);
	do
	::
#if FIRST_LOOK == BEFORE_ENTRY
		LD(MOVES, moves);
#endif
		LD(ENTRY, value);
		if
		:: value == TABLE ->
			step(SLOT, scratch, ok);
			if
			:: ok ->
				LD(LEAF, value);
				if
				:: value >= permission -> take()
				:: else
				fi;
				break
			:: else
			fi
		:: else -> break
		fi
	od;
	exit(SLOT, scratch);
	d_step { no_preempt[0] = 0; walking = 0; mapped_as = 0; permission = 0; value = 0; moves = 0; scratch = 0; ok = 0;
		SAY("has ended its walk, preemption on") }
}
#undef me

#define me 1
#define RAISE a = VIEW(MOVES) + 1; ST(MOVES, a)	// a plain store: it is written under the lock only

inline flush_move(targets, a, b)
{
	read_masks(targets);
	flush(targets, a, b);
	targets = 0; a = 0; b = 0
}

inline move(from, to)
{
#if defined(moves_raised_before_lock)
	raised = 0;
#elif !defined(moves_raised_after_clear) && !defined(moves_raised_last) && !defined(moves_raised_after_unlock)
	RAISE;
#endif
	XCHG(from, NO_TABLE, a);
#ifdef moves_raised_after_clear
	RAISE;
#endif
#ifdef move_waits_between
	grace_period();
#endif
	atomic { XCHG(to, TABLE, a); NOTE };
	a = 0;
#ifdef move_waits_last
	grace_period();
#endif
#ifndef move_flush_after_unlock
	flush_move(targets, a, b);
#endif
#ifdef moves_raised_last
	RAISE;
	a = 0;
#endif
#ifdef moves_raised_after_unlock
	raise_due++;
#endif
	moves_left--
}

#define FAULT(how) atomic { changes_left && !VIEW(LEAF) && mem[REFS] == 0 && DRAINED -> changes_left--; \
	mem[REFS] = 1; mapped_as = 0; SAY("allocates the page"); XCHG(LEAF, how, a); a = 0; NOTE }

proctype mover()
{
	byte targets, a, moves_left = MOVES_AT_MOST, changes_left = CHANGES_AT_MOST, raise_due;
	bit b, owes, elsewhere, was_elsewhere;
#ifdef moves_raised_before_lock
	bit raised;
#else
#define raised true
#endif

	do
	:: moves_left && VIEW(ENTRY) == TABLE && raised -> move(ENTRY, FAR_ENTRY);
	:: moves_left && VIEW(ENTRY) != TABLE && raised -> move(FAR_ENTRY, ENTRY);
#ifdef moves_raised_before_lock
	:: moves_left && !raised -> RAISE; a = 0; raised = 1
#endif
	// A fault: it maps the page if that is free.
	:: FAULT(READ_ONLY)
	:: FAULT(WRITABLE)
	// space_protect()
	:: atomic { changes_left && VIEW(LEAF) && DRAINED -> changes_left--;
		XCHG(LEAF, (mem[LEAF] == WRITABLE -> READ_ONLY : WRITABLE), a); a = 0; NOTE }
	// A discard: the reference is put at any time after.
	:: atomic { changes_left && VIEW(LEAF) && !owes && DRAINED -> changes_left--;
		XCHG(LEAF, 0, a); a = 0; owes = 1 }
	:: d_step { owes && DRAINED -> owes = 0; mem[REFS] = mem[REFS] - 1; SAY("puts the page that was discarded") }
	// The frame is used for something else, and put.
	:: d_step { !was_elsewhere && mem[REFS] == 0 && DRAINED -> elsewhere = 1; was_elsewhere = 1; mem[REFS] = 1;
		mapped_as = 0; SAY("the frame is allocated for something else") }
	:: d_step { elsewhere && DRAINED -> elsewhere = 0; mem[REFS] = mem[REFS] - 1; SAY("… and put") }
#ifdef moves_raised_after_unlock
	:: raise_due -> RAISE; a = 0; raise_due--
#endif
	:: !walking -> break
	od
}
#undef me

init
{
	atomic {
		if	// how CPU 0 holds the space
		:: skip
#if POLICY != IMMEDIATE			// whose walker, with interrupts on, can always answer
		:: holds_root[0] = 1; mem[CPUS] = 1
		:: holds_root[0] = 1; mem[CPUS] = 1; is_lazy = 1
#endif
		fi;
		holds_root[1] = 1;
		mem[ENTRY] = TABLE;
		if	// the page
		:: skip
		:: mem[LEAF] = READ_ONLY; mem[REFS] = 1
		:: mem[LEAF] = WRITABLE; mem[REFS] = 1
		fi;
		run walker(); run mover(); run interrupts();
#if BACKEND == NMI
		run nmi_handler()
#endif
	}
}
