// SPDX-License-Identifier: MIT
// The walk: first in its plain form, then as it is compiled for each policy.
//
//	root (L4) --e4--> L3 table --e3--> L2 table --e2--> L1 table --e1--> frame
#pragma once
#include "kernel/errno.h"
#include "kernel/panic.h"
#include "lab/counter.h"
#include "lab/mutant.h"
#include "lab/oracle.h"
#include "lab/stall.h"
#include "lab/trace.h"
#include "mm/space.h"
#include "mm/table.h"
#include "mm/tlb.h"
#include "mm/walk.h"

// Pin the 4 KiB page at va: 0; -EFAULT: not mapped, or not permitted; -ENOMEM: it has PAGE_REFS_MAX references;
// -EAGAIN: an entry on the way to it has changed. The caller keeps the tables alive; if it does so by holding the
// space's lock, no entry changes.
static inline int walk_plain(struct space *s, vaddr_t va, bool write, struct page **page)
{
	pte_t *table = s->root, *entry = NULL, *parent, value = 0, parent_value;
	struct page *head;
	int level = PT_LEVELS + 1;
	u64 moves;
	bool same;

	do {
		parent = entry;
		parent_value = value;
		entry = &table[pt_index(va, --level)];
		value = pte_read(entry);
		if (!pte_permits(value, write))		// permissions are the AND of all levels
			return -EFAULT;
		table = phys_to_virt(pte_addr(value));
	} while (!pte_leaf(value, level));
	head = page_of(pte_addr(value));
	*page = head + ((va & (level_size(level) - 1)) >> PAGE_SHIFT);
	if (!page_try_get(head))			// take … (LOCKed: pairs with the gather's clear, flush, put)
		return -ENOMEM;
	moves = load_acquire(&s->moves);		// … and look again; pairs with note_move()
	same = pte_same(pte_read(entry), value) && pte_same(pte_read(parent), parent_value) && page_head(*page) == head;
	smp_rmb();	// leaf and parent before the count; pairs with the exchange that brings a table back
	if (same && READ_ONCE(s->moves) == moves)
		return 0;
	page_put(head);
	return -EAGAIN;
}

// The compiled walks do the same: tests/mm/walk/plain.c compares each of them with the plain one. The differences:
//  - The policy keeps the tables alive: its enter and exit stand around the descent, its step before each table. They
//    are constants of a compiled walk and get inlined, so that a walk makes no indirect call (DEFINE_TABLE_POLICY).
//  - The levels are unrolled. In the walk of one page the way to a leaf of level 1 takes no jump, calls nothing and
//    needs no stack; a large leaf is rare there, and a function of its own walks to it again from the root.
//  - A range is one read side. The next leaf is the next entry until the table ends, without a new descent.
//  - No reference is put inside the read side, because a put may free: one that was taken in vain is put after it.
//  - They distrust what they read where the policy may free a table under them (`immediate`).
//  - Stall points stand where a walk may lose a race, and the oracle is told of every table.
//
// (a) What keeps things alive. The space and with it the root: the caller's count. Each table below: the policy's read
//     side, entered before the root is read. The frame: nothing, until page_try_get() has succeeded and the leaf was
//     read again.
// (b) What a reader may see. Each entry is read once; the walk descends from the value that was read. An entry may
//     change, a table may be unlinked or move, at any time after; then the walk ends in the old tree, which is intact
//     (the tables are not freed), and gives an answer that was true during the call, or the re-check finds the change.
// (c) Re-check, after the reference is taken: the leaf, then its parent, between two looks at the count of moves. The
//     unmapper clears the leaf (or for a collapse the parent), flushes, and only then drops its reference: a walker that
//     sees the old values after its LOCKed try_get took it while the mapping's own reference still stood.
//     But was the table in its place when the leaf was read again? Only a move takes a table away that stays in use
//     without a wait for its walkers, and only another move brings it back. Each move increments the count before it
//     clears its first entry, under the lock that every change of a leaf takes, too. The walker has found the parent
//     unchanged, and the same count at both looks. Either the table has never left since the walker came by. Or the
//     last move that brought it back had counted before the first look: then the leaf was read while that move held
//     the lock, or later, and is as it was when the table was back. No further move can have taken the table away, let
//     the leaf change elsewhere, and remain unseen: the leaf is read before the parent, and a walker that reads
//     (acquire) what was written elsewhere, after that move had cleared the parent, finds the parent cleared.

// ---- What the compiled walks share ----------------------------------------------------------------------------------

#define WALK_RESTARTS 8		// so many restarts by its policy, and a walk takes the slow path

// Read with preemption or interrupts off, so that a switch of policies can wait for its readers. Acquire: a walker that
// finds the union finds which two policies it combines (switch.c).
static __always_inline const struct table_policy *walk_selected(struct space *s) { return load_acquire(&s->policy); }

static __always_inline void walk_count(struct space *s, unsigned n)
{
	if (!CHECK)
		return;
	count_add(walks, n);
	if (!tlb_space_loaded_here(s))
		count_add(walks_remote, n);
}

// Enter and leave the walker's context. Preemption is off already.
static __always_inline void walk_hold(const struct table_policy *p, struct walk_state *w)
{
	if (p->walker == WALKER_IRQS_OFF)
		w->flags = irq_save();
}
static __always_inline void walk_let_go(const struct table_policy *p, struct walk_state *w)
{
	if (p->walker == WALKER_IRQS_OFF)
		irq_restore(w->flags);
}

// Check what the policy, or each part of a union, says of its walkers: this CPU is a target of flushes.
static __always_inline void walk_check_targets(const struct table_policy *p, const struct walk_state *w)
{
	if (!CHECK)
		return;
	if (!p->combines)
		oracle_check_target(p, w->space);
	else
		for (int i = 0; i < 2; i++)
			oracle_check_target(w->part[i].policy, w->space);
}

// The read side of every compiled walk, inside the walker's context.
static __always_inline void walk_begin(const struct table_policy *p, struct walk_state *w, vaddr_t va)
{
	trace(EV_WALK_BEGIN, va);
	if (p->enter)
		p->enter(w);
	oracle_enter(w->space, va, (uintptr_t)__builtin_return_address(0));
	walk_check_targets(p, w);
	oracle_publish(PT_LEVELS, page_of(w->space->root_pa));
}
static __always_inline void walk_end(const struct table_policy *p, struct walk_state *w, unsigned got)
{
	oracle_exit();
	trace(EV_WALK_END, got);
	if (p->exit)
		p->exit(w);
}

struct walk_pos {
	pte_t *entry;		// the leaf's
	pte_t value;
	int level;
	pte_t *parent;		// the entry that led to the leaf's table; a leaf never stands in the root
	pte_t parent_value;
};

// Descend to the leaf for va; false: not present, or not permitted.
static __always_inline bool walk_descend(const struct table_policy *p, struct walk_state *w, vaddr_t va, bool write,
					 struct walk_pos *pos)
{
	pte_t *table = w->space->root;

#pragma GCC unroll 4
	for (int level = PT_LEVELS; level >= 1; level--) {
		pte_t *entry = &table[pt_index(va, level)], value = pte_read(entry);

		pos->parent = pos->entry;
		pos->parent_value = pos->value;
		pos->entry = entry;
		pos->value = value;
		pos->level = level;
		if (level == 1)
			return likely(pte_permits(value, write));
		if (unlikely(!pte_permits_below(value, write)))		// permissions are the AND of all levels
			return pte_permits(value, write) && level < PT_LEVELS;
		// An entry was read that names a table; the table has not been read
		STALL(walk_level, w->space, va, level);
		if (p->distrusts && unlikely(!page_valid(pte_addr(value))))
			return false;
		oracle_leave(level - 1);	// of an earlier descent in this read side
		if (p->step && unlikely(!p->step(w, level - 1, entry, value)))
			return false;
		oracle_publish(level - 1, page_of(pte_addr(value)));
		table = phys_to_virt(pte_addr(value));
	}
	return false;
}

// The same, restarted from the root as often as the policy asks for it.
static __always_inline bool walk_find(const struct table_policy *p, struct walk_state *w, vaddr_t va, bool write,
				      struct walk_pos *pos)
{
	for (unsigned i = 0; !walk_descend(p, w, va, write, pos); i++) {
		if (likely(!w->restart) || i == WALK_RESTARTS)
			return false;
		w->restart = false;
		count(walk_restarts);
	}
	return true;
}

// May a table leave, change and come back while a walk is under way? Not where a flush of freed tables waits for all
// walkers of its space (if the back-end proves that much; the pair is unsafe otherwise): a move does such a flush,
// never defers it, and ends it before it drops the lock.
static __always_inline bool walk_outlives_moves(const struct table_policy *p)
{
	return p->waits != WAIT_FLUSH || !p->walkers_are_targets;
}

static __always_inline u64 walk_moves(const struct table_policy *p, const struct space *s)
{
	if (MUTANT(walk_no_moves_recheck))
		return 0;
	return walk_outlives_moves(p) ? load_acquire(&s->moves) : 0;
}

// Take a reference to the 4 KiB frame at va, by the leaf in `pos`. The head counts it, and the leaf itself names the
// head: leaves at level 1 map single frames. From the try-get on the block is neither reused nor split (page_split()
// needs the only reference); if it was split just before, its tails show it. False: *page is NULL, or a page to which a
// reference was taken in vain; the caller puts it after the read side, because a put may free.
static __always_inline bool walk_take(const struct table_policy *p, struct space *s, const struct walk_pos *pos, int level,
				      vaddr_t va, struct page **page)
{
	paddr_t pa = pte_addr(pos->value);
	struct page *head;
	pte_t changed;
	u64 moves;

	*page = NULL;
	if (p->distrusts && unlikely(!page_valid(pa) || !page_valid(pa + (va & (level_size(level) - 1)))))
		return false;		// garbage: a large leaf may reach from RAM into a hole, or the other way
	head = page_of(pa);
	STALL(walk_leaf, s, va, level);	// the leaf was read; no reference taken
	if (unlikely(!page_try_get(head)))
		return false;
	STALL(walk_pinned, s, va, level);	// reference taken; leaf and parent not yet read again
	// page_try_get is a LOCKed operation: these reads come after it (pairs with the gather: clear, flush, put).
	moves = walk_moves(p, s);	// before the leaf: acquire, pairs with note_move()
	*page = level == 1 ? head : head + ((va & (level_size(level) - 1)) >> PAGE_SHIFT);
	changed = pte_diff(pte_read(pos->entry), pos->value);
	if (MUTANT(walk_no_leaf_recheck))
		changed = 0;
	STALL(walk_leaf_again, s, va, level);	// the leaf was read again, the parent not yet
	if (!MUTANT(walk_no_parent_recheck))
		changed |= pte_diff(pte_read(pos->parent), pos->parent_value);
	smp_rmb();			// leaf and parent before the count; pairs with the exchange that brings a table back
	changed |= walk_moves(p, s) ^ moves;
	if (unlikely(changed || (level > 1 && page_head(*page) != head))) {
		count(walk_restarts);
		*page = head;
		return false;
	}
	return true;
}

// The next page's leaf without a new descent, while it lies in the same leaf or the same table.
static __always_inline bool walk_next(struct walk_pos *pos, vaddr_t va, bool write)
{
	if (va & (level_size(pos->level) - 1) & ~(PAGE_SIZE - 1))
		return true;			// further inside the same large leaf
	if (pt_index(va, pos->level) == 0)
		return false;			// end of this table
	pos->value = pte_read(++pos->entry);
	return pte_permits(pos->value, write) && pte_leaf(pos->value, pos->level);
}

// ---- A range --------------------------------------------------------------------------------------------------------
// One read side for n pages. Preemption is off.
static __always_inline unsigned walk_body(const struct table_policy *p, struct space *s, vaddr_t va, unsigned n,
					  bool write, struct page **pages)
{
	struct walk_state w = { .space = s }, part[2];
	struct page *page, *drop = NULL;
	struct walk_pos pos = { 0 };
	unsigned got = 0;

	if (p->combines)
		w.part = part;
	walk_hold(p, &w);
	walk_begin(p, &w, va);
	if (likely(walk_find(p, &w, va, write, &pos))) {
		for (;;) {
			if (unlikely(!walk_take(p, s, &pos, pos.level, va, &page))) {
				drop = page;
				break;
			}
			pages[got++] = page;
			va += PAGE_SIZE;
			// In a range: a page was taken, the leaf of the next one not yet read
			STALL(walk_on, s, va, pos.level);
			if (got == n || (!walk_next(&pos, va, write) && !walk_find(p, &w, va, write, &pos)))
				break;
		}
	}
	walk_end(p, &w, got);
	walk_let_go(p, &w);
	if (unlikely(drop))
		page_put(drop);
	return got;
}

// ---- One page -------------------------------------------------------------------------------------------------------
static __always_inline struct page *walk_let_go_one(const struct table_policy *p, struct page *page)
{
	if (p->walker == WALKER_IRQS_OFF) {
		irq_enable();
	} else {
		preempt_enable_no_resched();
		if (unlikely(this_cpu_read(need_resched)))
			return walk_resched(page);
	}
	return page;
}

static __always_inline struct page *walk_leave(const struct table_policy *p, struct walk_state *w, struct page *page,
					       struct page *drop)
{
	walk_end(p, w, page != NULL);
	if (CHECK && page)
		count(walks_fast);
	page = walk_let_go_one(p, page);
	return unlikely(drop) ? walk_missed(drop) : page;
}

// The rest of a walk of one page that has met a large leaf, in the same read side. It walks once more from the root, so
// that walk_body_one() need not keep its position in registers for it.
typedef struct page *walk_large_fn(struct space *s, vaddr_t va, bool write, bool joined, struct walk_state *part);
static __always_inline struct page *walk_body_large(const struct table_policy *p, struct space *s, vaddr_t va, bool write,
						    bool joined, struct walk_state *part)
{
	struct walk_state w = { .space = s, .joined = joined, .part = part };
	struct walk_pos pos = { 0 };
	struct page *page = NULL;
	bool taken = likely(walk_find(p, &w, va, write, &pos)) && walk_take(p, s, &pos, pos.level, va, &page);

	return walk_leave(p, &w, taken ? page : NULL, taken ? NULL : page);
}

// The walk of one page. It begins with preemption and interrupts on and turns one of the two off, as the policy asks;
// that makes it an RCU reader, so that the selector may be read. The interrupt flag need not be saved, nor need_resched
// looked at afterwards: nothing sets it while interrupts are off. The way to a leaf at level 1 takes no jump and calls
// nothing.
static __always_inline struct page *walk_body_one(const struct table_policy *p, walk_large_fn *large, struct space *s,
						  vaddr_t va, bool write)
{
	struct walk_state w = { .space = s }, part[2];
	struct walk_pos pos = { 0 };
	struct page *page;

	ASSERT_MAY_SLEEP();
	if (unlikely(va >= USER_END))
		return NULL;
	if (p->combines)
		w.part = part;
	if (p->walker == WALKER_IRQS_OFF)
		irq_disable();
	else
		preempt_disable();
	if (unlikely(walk_selected(s) != p))	// it has changed since the caller read it
		return walk_let_go_one(p, NULL);
	walk_count(s, 1);
	walk_begin(p, &w, va);
	if (unlikely(!walk_find(p, &w, va, write, &pos)))
		return walk_leave(p, &w, NULL, NULL);
	if (unlikely(pos.level > 1))
		return large(s, va, write, w.joined, w.part);
	if (unlikely(!walk_take(p, s, &pos, 1, va, &page)))
		return walk_leave(p, &w, NULL, page);
	return walk_leave(p, &w, page, NULL);
}

// ---- Compiled for a policy ------------------------------------------------------------------------------------------
// The walk, compiled for one policy. The functions for one page are aligned so that none straddles a page boundary (an
// emulator pays for every jump from one page to the next), and so that equal code is equally fast: QEMU finds translations
// by bits of their addresses, and a walk of which two blocks want the same place is slower by nearly half. The
// attribute stands first; behind the `*` it would be the pointer's.
#define DECLARE_WALK(n) \
	static unsigned n##_walk(struct space *, vaddr_t, unsigned, bool, struct page **); \
	static walk_large_fn n##_walk_large; \
	static walk_one_fn n##_walk_read, n##_walk_write
#define DEFINE_WALK(n, policy) \
	static unsigned n##_walk(struct space *s, vaddr_t va, unsigned count, bool write, struct page **pages) \
	{ \
		return walk_body(&policy, s, va, count, write, pages); \
	} \
	static __noinline struct page *n##_walk_large(struct space *s, vaddr_t va, bool write, bool joined, struct walk_state *part) \
	{ \
		return walk_body_large(&policy, s, va, write, joined, part); \
	} \
	static __aligned(2048) struct page *n##_walk_read(struct space *s, vaddr_t va) \
	{ \
		return walk_body_one(&policy, n##_walk_large, s, va, false); \
	} \
	static __aligned(2048) struct page *n##_walk_write(struct space *s, vaddr_t va) \
	{ \
		return walk_body_one(&policy, n##_walk_large, s, va, true); \
	} \
	_Static_assert(1, "")

// Ends a policy's file: `n` is the name as an identifier, `name_` as table_free= spells it; the rest are the fields and
// operations that it has.
#define DEFINE_TABLE_POLICY(n, name_, ...) \
	DECLARE_WALK(n); \
	static const struct table_policy n##_policy = { .name = name_, .walk = n##_walk, \
		.walk_one = { n##_walk_read, n##_walk_write }, __VA_ARGS__ }; \
	REGISTER(policies, n##_policy); \
	DEFINE_WALK(n, n##_policy)
