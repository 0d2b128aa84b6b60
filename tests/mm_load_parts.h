// SPDX-License-Identifier: MIT
// Inside the load: what mm_load.c (the run), mm_load_unmap.c and mm_load_walk.c share.
//
//	group g: its own entry of the root, so that unmapping the group frees tables of levels 3, 2 and 1
//	+0      slot 0: 4 pages                     } share the L2 table: unmapping one frees an L1 table
//	+2 MiB  slot 1: 2 pages                     }
//	+1 GiB  slot 2: 3 pages                       has its own L2 table: frees levels 2 and 1
//	+2 GiB  slot 3: 2 pages across two L1 tables, or in the first groups one large page of 2 MiB
#pragma once
#include "kernel/lib.h"
#include "mm/space.h"
#include "tests/mm_load.h"

#define GROUPS 32
#define SLOTS 4
#define LARGE_GROUPS 2
#define MAX_SPACES 8
#define MOST_PAGES 4
#define RANDOM(w, n) ((unsigned)(rand_next(&(w)->seed) % (n)))

struct load {
	struct space *space[MAX_SPACES];
	unsigned nr_spaces;
	bool safe;		// only then may a pinned page be written to: an unsafe pair may hand out anybody's
	u32 stop;
	u32 lingering;		// 1 + the space in which walker 0 lingers, or 0
	u64 op_ns;		// how long an unmapper's last operation took: an emulated machine may be very slow
};

struct worker {
	struct load *load;
	unsigned index;		// among all workers: the stamp's owner, the word that is its own
	bool lingers;		// walker 0, if it may: in which space, and not again before (ns)
	unsigned lingers_at;
	u64 next_linger;
	unsigned at;		// the space that an unmapper calls its own
	u64 seed;
	struct mm_load_result found;
	struct thread *thread;
} __cacheline;

struct slot {
	vaddr_t va;
	unsigned pages;		// of 4 KiB, with a stamp each
	int level;
};

static inline vaddr_t group_base(unsigned g) { return (vaddr_t)(g + 1) << level_shift(4); }

static inline struct slot slot_of(unsigned g, unsigned i)
{
	vaddr_t base = group_base(g);

	switch (i) {
	case 0: return (struct slot){ base, 4, 1 };
	case 1: return (struct slot){ base + level_size(2), 2, 1 };
	case 2: return (struct slot){ base + level_size(3), 3, 1 };
	default: break;
	}
	if (g < LARGE_GROUPS)
		return (struct slot){ base + 2 * level_size(3), MOST_PAGES, 2 };
	return (struct slot){ base + 2 * level_size(3) + level_size(2) - PAGE_SIZE, 2, 1 };
}

static inline u64 slot_bytes(const struct slot *s) { return s->level == 1 ? s->pages * PAGE_SIZE : level_size(s->level); }

// Even, so that a walk that takes a page for a table finds nothing present in it.
static inline u64 stamp_of(unsigned space, vaddr_t va) { return (va & ~(PAGE_SIZE - 1)) | (space + 1) << 1; }

// Threads' functions; the argument is their struct worker.
int unmapper(void *worker);
int walker(void *worker);
// Map the slot of the space with that number, and stamp its pages.
void put_up(struct worker *w, unsigned at, const struct slot *s);
