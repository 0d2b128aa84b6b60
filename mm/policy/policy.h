// SPDX-License-Identifier: MIT
// The first axis (DESIGN 1): how a detached table page waits for lockless walkers (struct table_policy). (The second,
// how stale translations leave the other CPUs, is in mm/flush/flush.h.) A policy registers itself where it is written.
//
// Safe or unsafe is computed. A policy says how its walkers run, whether a flush goes to them, and what it waits for
// before it frees; a back-end says what its completion proves about the CPUs that it goes to. See pair_verdict().
#pragma once
#include "kernel/cpumask.h"
#include "kernel/list.h"
#include "kernel/panic.h"
#include "kernel/preempt.h"
#include "mm/frame/page.h"

struct space;

// The state of one walk, from enter to exit; on the walker's stack.
struct walk_state {
	struct space *space;
	irqflags_t flags;	// of a walk that may begin with interrupts off
	bool joined;		// this walk put the CPU into the space's walker mask
	bool restart;		// step: the entry has changed
	struct walk_state *part;		// of a union walk (policy/union.c): the states of its two policies
	const struct table_policy *policy;	// of a part: whose it is
};

enum walker_context { WALKER_PREEMPT_OFF, WALKER_IRQS_OFF };	// established around enter … exit
enum free_wait {
	WAIT_FLUSH,		// the flush itself is the only wait
	WAIT_REST,		// … and then, by its own means, for those walkers whose end the flush has not proved
	WAIT_OWN,		// the policy waits by its own means, whatever the flush proves
};

// The walk of one page: returns the page, or NULL. Preemption on. It checks that the space still has its policy, so the
// caller may have chosen it by a selector that has changed since.
typedef struct page *walk_one_fn(struct space *space, vaddr_t va);

struct table_policy {
	const char *name;
	const char *lineage;			// where the idea comes from, for people
	enum walker_context walker;
	enum free_wait waits;
	// From the end of `enter` to `exit` the walker's CPU is a target of every flush of freed tables: it has the
	// space loaded, or it has joined space.walkers. Checking builds check it (oracle_check_target).
	bool walkers_are_targets;
	// Empty tables stay linked until the space ends, or until something else must stand in their place (tree.c):
	// so the gather passes a table to `free` only then, after a flush that was not deferred, under the space's lock;
	// or when the space has no user left. With `leave`.
	bool keeps;
	bool combines;			// the union walk: it needs walk_state.part
	bool distrusts;			// unsafe: a walker may read garbage, so it checks every frame number

	// Operations that a policy does not need are NULL.
	// The walker's side; always inlined into the policy's compiled walk. The walker's context is established around all
	// three: preemption or interrupts are off, as `walker` says (a union's are the stronger of the two).
	void (*enter)(struct walk_state *w);
	// Before the table of `level` that `value`, read from *entry, names is read. False: the walk ends here, or, if
	// w->restart is set, begins anew.
	bool (*step)(struct walk_state *w, int level, const pte_t *entry, pte_t value);
	void (*exit)(struct walk_state *w);

	// The freeing side. `tables`: FLUSHED table pages (linked by page.link), consumed. Each becomes FREE without
	// another call of the policy: an unmapper that waits for credits calls none. Preemption on, may sleep, the
	// space's mutex may be held; no spinlock is. Never NULL.
	// `proved`: CPUs that have taken a maskable call of this very flush, after the tables were unlinked: each walk with
	// interrupts off that ran there before has ended, nested ones included. NULL: none is known.
	void (*free)(struct space *space, struct list *tables, const struct cpumask *proved);
	// Called as a gather begins to flush, when it has unlinked its last table; `tables` are UNLINKED. Preemption is off,
	// and stays off until the tables are FLUSHED and `free`, which then may not sleep, has returned. Such a gather never
	// defers its flush. NULL: the policy has nothing to do before the flush.
	void (*begin)(struct space *space, struct list *tables);
	// Return when no walker that began before the call can still be inside: for tables that are reused without
	// being freed. NULL, only with WAIT_FLUSH: the flush was the wait.
	void (*wait)(struct space *space);
	// Return when every table is FREE that was passed to a `free` which has returned. NULL: tables are FREE when
	// `free` returns. May sleep; takes a bounded time, whatever others free meanwhile.
	void (*drain)(void);
	// The space leaves the policy: a switch has just given it another freer, whose discipline its walkers follow by
	// now, too (switch.c); or it ends, and has no user left. What the policy holds of it goes on to FREE. May
	// sleep; under the space's lock.
	void (*leave)(struct space *space);

	// Filled in by DEFINE_TABLE_POLICY: the walk, compiled for this policy. Pins up to n pages, stores them,
	// returns how many. Preemption off.
	unsigned (*walk)(struct space *space, vaddr_t va, unsigned n, bool write, struct page **pages);
	walk_one_fn *walk_one[2];	// the same for one page, to read it and to write it
};

static __always_inline void policy_wait(const struct table_policy *p, struct space *s)
{
	ASSERT(p->wait || p->waits == WAIT_FLUSH);
	if (p->wait)
		p->wait(s);
}

// The union of two disciplines (policy/union.c): what a space's walkers follow while its policy changes. It frees
// nothing and is no value of table_free=.
extern const struct table_policy policy_union;

// What a new space starts with: the command line's choice, until policy_switch_all() (switch.h) makes another.
const struct table_policy *policy_default(void);
void policy_set_default(const struct table_policy *p);	// for space.c, under its lock
const char *policy_current_name(void);
const struct table_policy *policy_find(const char *name);	// NULL: unknown
bool policy_named(void);				// did the command line choose it?

// Return when everything is FREE that any policy or back-end was given before the call. May sleep.
void policies_drain(void);

#define FOR_EACH_POLICY(it) FOR_EACH_REGISTERED(policies, const struct table_policy, it)
