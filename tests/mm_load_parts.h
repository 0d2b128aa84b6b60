// SPDX-License-Identifier: MIT
// Inside the load: what mm_load.c (the run), mm_load_unmap.c and mm_load_walk.c share.
//
//	group g: its own entry of the root, so that unmapping the group frees tables of levels 3, 2 and 1
//	+0      slot 0: 4 pages                     } share the L2 table: unmapping one frees an L1 table
//	+2 MiB  slot 1: 2 pages                     }
//	+1 GiB  slot 2: 3 pages                       has its own L2 table: frees levels 2 and 1
//	+2 GiB  slot 3: 2 pages across two L1 tables; in the first groups one large page of 2 MiB, in the next 512 small
//	        ones, to be collapsed and split
//	+4 GiB  and on: where unmappers move such 2 MiB to, and back from
#pragma once
#include "kernel/lib.h"
#include "mm/space.h"
#include "tests/mm_load.h"

#define GROUPS 64
#define SLOTS 4
#define LARGE_GROUPS 2
#define WHOLE_GROUPS 4		// of them the first ones are large pages
#define MAX_SPACES 8
#define MOST_PAGES 4
#define RANDOM(w, n) ((unsigned)(rand_next(&(w)->seed) % (n)))

struct load {
	struct space *space[MAX_SPACES];
	unsigned nr_spaces, nr_unmappers;	// unmapper i has space i % nr_spaces for its own
	const struct table_policy *policy;
	const struct flush_backend *flush;
	bool safe;		// only then may a pinned page be written to: an unsafe pair may hand out anybody's
	unsigned lingerer;	// walker 0's CPU: it robs itself, and the robber leaves it alone
	u32 stop;
	u32 lingering;		// 1 + the space in which walker 0 lingers, or 0
	u64 chances;		// walker 0's own
	u64 op_ns;		// how long an unmapper's last operation took: an emulated machine may be very slow
};

struct worker {
	struct load *load;
	unsigned index;		// among all workers: the stamp's owner, the word that is its own
	unsigned home;		// the CPU that it was made on
	bool lingers;		// walker 0, if it may: in which space, and not again before (ns)
	unsigned lingers_at;
	u64 next_linger;
	unsigned at;		// the space that an unmapper calls its own
	unsigned inside;	// the space that it runs in; nr_spaces: in none
	u64 seed;
	struct mm_load_result found;
	struct thread *thread;
} __cacheline;

struct slot {
	vaddr_t va;
	unsigned pages;		// of 4 KiB, with a stamp each
	int level;
	u64 bytes;
};

static inline vaddr_t group_base(unsigned g) { return (vaddr_t)(g + 1) << level_shift(4); }

static inline struct slot slot_of(unsigned g, unsigned i)
{
	vaddr_t base = group_base(g);

	switch (i) {
	case 0: return (struct slot){ base, 4, 1, 4 * PAGE_SIZE };
	case 1: return (struct slot){ base + level_size(2), 2, 1, 2 * PAGE_SIZE };
	case 2: return (struct slot){ base + level_size(3), 3, 1, 3 * PAGE_SIZE };
	default: break;
	}
	if (g < WHOLE_GROUPS)
		return (struct slot){ base + 2 * level_size(3), MOST_PAGES, g < LARGE_GROUPS ? 2 : 1, level_size(2) };
	return (struct slot){ base + 2 * level_size(3) + level_size(2) - PAGE_SIZE, 2, 1, 2 * PAGE_SIZE };
}

// Even, so that a walk that takes a page for a table finds nothing present in it.
static inline u64 stamp_of(unsigned space, vaddr_t va) { return (va & ~(PAGE_SIZE - 1)) | (space + 1) << 1; }

// Threads' functions; the argument is their struct worker.
int unmapper(void *worker);
int walker(void *worker);
int robber(void *worker);
void wander(struct worker *w);	// now and then: off to another CPU, back home, or asleep for a while
void go_in_or_out(struct worker *w, unsigned at);	// from now on it runs in that space; nr_spaces: in none
// User memory at va, of the space that the worker runs in: no other page's.
void read_as_user(struct worker *w, vaddr_t va);
// Map the slot of the space with that number, and stamp its pages.
void put_up(struct worker *w, unsigned at, const struct slot *s);
