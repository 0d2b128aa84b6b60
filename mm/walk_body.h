// SPDX-License-Identifier: MIT
// The body of the lockless walk, and DEFINE_TABLE_POLICY, which compiles it once for each policy: the policy's enter,
// step and exit are constants there and get inlined, so that a walk makes no indirect call.
//
//	root (L4) --e4--> L3 table --e3--> L2 table --e2--> L1 table --e1--> frame
//
// (a) What keeps things alive. The space and with it the root: the caller's count. Each table below: the policy's read
//     side, entered before the root is read. The frame: nothing, until page_try_get() has succeeded and the leaf was
//     read again.
// (b) What a reader may see. Each entry is read once; the walk descends from the value that was read. An entry may
//     change, a table may be unlinked, at any time after; then the walk ends in the old tree, which is intact (the
//     tables are not freed), and gives an answer that was true during the call, or the re-check finds the change.
// (c) Re-check: the leaf and its parent, after the reference is taken. The unmapper clears the leaf (or for a collapse
//     the parent), flushes, and only then drops its reference: a walker that sees the old values after its LOCKed
//     try_get took it while the mapping's own reference still stood.
#pragma once
#include "kernel/counter.h"
#include "kernel/mutant.h"
#include "kernel/stall.h"
#include "mm/oracle.h"
#include "mm/space.h"
#include "mm/table.h"
#include "mm/walk.h"

STALL_DECLARE(walk_level);	// an entry was read that names a table; the table has not been read
STALL_DECLARE(walk_leaf);	// the leaf was read; no reference taken
STALL_DECLARE(walk_pinned);	// reference taken; leaf and parent not yet read again
MUTANT_DECLARE(walk_no_leaf_recheck);
MUTANT_DECLARE(walk_no_parent_recheck);

#define WALK_RESTARTS 8		// after so many that its policy asked for a walk takes the slow path

struct walk_pos {
	pte_t *entry;		// the leaf's
	pte_t value;
	int level;
	pte_t *parent;		// the entry that led to the leaf's table; a leaf never stands in the root
	pte_t parent_value;
};

// Take the 4 KiB frame at va out of the leaf in `pos`, or NULL. The count is the head's, which the leaf itself names:
// leaves at level 1 map single frames. From the try-get on the block is neither reused nor split (page_split() needs
// the only reference); that it was not split just before shows in its tails. A reference that was taken in vain goes to
// *drop: putting it may free, which the read side is no place for.
static __always_inline struct page *walk_take(const struct table_policy *p, struct space *s, const struct walk_pos *pos,
					      vaddr_t va, struct page **drop)
{
	paddr_t pa = pte_addr(pos->value);
	struct page *head, *page;

	if (p->distrusts && unlikely(!page_valid(pa)))
		return NULL;
	head = page_of(pa);
	STALL(walk_leaf, s, va, pos->level);
	if (unlikely(!page_try_get(head)))
		return NULL;
	STALL(walk_pinned, s, va, pos->level);
	// page_try_get is a LOCKed operation: these reads come after it (pairs with the gather: clear, flush, put).
	page = pos->level == 1 ? head : head + ((va & (level_size(pos->level) - 1)) >> PAGE_SHIFT);
	if (unlikely((!pte_same(pte_read(pos->entry), pos->value) && !MUTANT(walk_no_leaf_recheck)) ||
		     (!pte_same(pte_read(pos->parent), pos->parent_value) && !MUTANT(walk_no_parent_recheck)) ||
		     (pos->level > 1 && page_head(page) != head))) {
		count(walk_restarts);
		*drop = head;
		return NULL;
	}
	return page;
}

// Descend to the leaf for va; false: not present, or not permitted.
static __always_inline bool walk_descend(const struct table_policy *p, struct walk_state *w, vaddr_t va, bool write,
					 struct walk_pos *pos)
{
	pte_t *table = w->space->root, *entry = NULL;
	pte_t value = 0;

#pragma GCC unroll 4
	for (int level = PT_LEVELS; level >= 1; level--) {
		pos->parent = entry;
		pos->parent_value = value;
		entry = &table[pt_index(va, level)];
		value = pte_read(entry);
		if (unlikely(!pte_permits(value, write)))	// permissions are the AND of all levels
			return false;
		if (level == 1 || (level < PT_LEVELS && pte_leaf(value, level))) {
			pos->entry = entry;
			pos->value = value;
			pos->level = level;
			return true;
		}
		STALL(walk_level, w->space, va, level);
		if (p->distrusts && unlikely(!page_valid(pte_addr(value))))
			return false;
		oracle_leave(level - 1);	// of an earlier descent in this read side
		if (unlikely(!p->step(w, level - 1, entry, value)))
			return false;
		oracle_publish(level - 1, page_of(pte_addr(value)));
		table = phys_to_virt(pte_addr(value));
	}
	return false;
}

// The same, from the root again while the policy asks for it.
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

// One read side for n pages. Called with n constant where it is 1: then all of the position stays in registers.
static __always_inline unsigned walk_body(const struct table_policy *p, struct space *s, vaddr_t va, unsigned n,
					  bool write, struct page **pages)
{
	struct walk_state w = { .space = s }, part[2];
	struct walk_pos pos = { 0 };
	struct page *drop = NULL;
	unsigned got = 0;

	if (p->combines)
		w.part = part;
	p->enter(&w);
	oracle_enter(s, va, (uintptr_t)__builtin_return_address(0));
	oracle_publish(PT_LEVELS, page_of(s->root_pa));
	if (likely(walk_find(p, &w, va, write, &pos))) {
		for (;;) {
			struct page *page = walk_take(p, s, &pos, va, &drop);

			if (unlikely(!page))
				break;
			pages[got++] = page;
			va += PAGE_SIZE;
			if (got == n || (!walk_next(&pos, va, write) && !walk_find(p, &w, va, write, &pos)))
				break;
		}
	}
	oracle_exit();
	p->exit(&w);
	if (unlikely(drop))
		page_put(drop);
	return got;
}

// Free FLUSHED tables at once: for policies whose flush was the wait.
void policy_free_now(struct list *tables, const struct table_policy *policy);

// The walk, compiled for one policy. walk_one is aligned so that it does not straddle pages, which an emulator pays for
// at every jump between them.
#define DECLARE_WALK(n) \
	static unsigned n##_walk(struct space *, vaddr_t, unsigned, bool, struct page **); \
	static unsigned n##_walk_one(struct space *, vaddr_t, bool, struct page **)
#define DEFINE_WALK(n, policy) \
	static unsigned n##_walk(struct space *s, vaddr_t va, unsigned count, bool write, struct page **pages) \
	{ \
		return walk_body(&policy, s, va, count, write, pages); \
	} \
	static unsigned __aligned(1024) n##_walk_one(struct space *s, vaddr_t va, bool write, struct page **page) \
	{ \
		return walk_body(&policy, s, va, 1, write, page); \
	} \
	_Static_assert(1, "")

// Ends a policy's file: `n` is the name as an identifier, `name_` as table_free= spells it; n_enter, _step, _exit, _free
// and _wait are its operations; the rest are further fields.
#define DEFINE_TABLE_POLICY(n, name_, ...) \
	DECLARE_WALK(n); \
	static const struct table_policy n##_policy = { .name = name_, .enter = n##_enter, .step = n##_step, .exit = n##_exit, \
		.free = n##_free, .wait = n##_wait, .walk = n##_walk, \
		.walk_one = n##_walk_one, __VA_ARGS__ }; \
	REGISTER(policies, n##_policy); \
	DEFINE_WALK(n, n##_policy)
