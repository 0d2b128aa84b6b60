// SPDX-License-Identifier: MIT
// Inside the load: what load/load.c (the run), load/unmap.c, load/walk.c, load/linger.c (walkers that stay in a
// step), load/suffer.c (what happens to CPUs and threads) and load/stamp.c (whose page it is) share.
//
//	group g: its own entry of the root, so that unmapping the group frees tables of levels 3, 2 and 1
//	+0      slot 0: 4 pages                     } share the L2 table: unmapping one frees an L1 table
//	+2 MiB  slot 1: 2 pages                     }
//	+1 GiB  slot 2: 3 pages                       has its own L2 table: frees levels 2 and 1
//	+2 GiB  slot 3: 2 pages across two L1 tables; in the first groups one large page of 2 MiB, in the next 512 small
//	        ones, to be collapsed and split; and a page behind, which keeps the L2 table when those 2 MiB move away
//	+4 GiB  and on: where unmappers move such 2 MiB to, and back from
//	group GROUPS: one page that stays, for walks in NMIs, which must not put a last reference
#pragma once
#include "kernel/lib.h"
#include "mm/space.h"
#include "tests/load/load.h"

#define GROUPS 64
#define SLOTS 4
#define LARGE_GROUPS 2
#define WHOLE_GROUPS 6		// of them the first ones are large pages
#define MAX_SPACES 8
#define MOST_PAGES 4
#define RANDOM(w, n) ((unsigned)(rand_next(&(w)->seed) % (n)))

struct life;		// of a slot's pages: load/stamp.c

// What walker 0 wants to happen while it lingers, and to which page.
enum bait_kind { BAIT_TABLES, BAIT_POSTED, BAIT_SLOT, BAIT_PAGES, BAIT_MOVE, BAIT_GIVEN, BAIT_COLLAPSE };
struct bait {
	enum bait_kind kind;
	unsigned g, i, page;
};
// In one word, so that a late reader does not get half of one and half of the next.
static inline u32 bait_word(struct bait b) { return (u32)b.kind | b.g << 8 | b.i << 16 | b.page << 24; }
static inline struct bait bait_of(u32 word)
{
	return (struct bait){ word & 0xff, word >> 8 & 0xff, word >> 16 & 0xff, word >> 24 };
}

struct load {
	struct space *space[MAX_SPACES];
	unsigned nr_spaces, nr_unmappers;	// unmapper i has space i % nr_spaces for its own
	const struct table_policy *policy;
	const struct flush_backend *flush;
	bool safe;		// only then is a pinned page written to: an unsafe pair may pin anybody's page
	unsigned lingerer;	// walker 0's CPU: it preempts itself, and the robber leaves it alone
	struct life *lives;	// by space, group, slot
	u32 stop;		// 1: unmappers, 2: everybody
	struct counters before;	// the workers' start
	u64 violations_before;
	// planned: walker 0 is about to linger in that space (1 + its number; 0: in none). stands_by: an unmapper of
	// that space is ready. lingering: walker 0 lingers in that space. So the two meet, and no earlier flush waits
	// for walker 0's CPU. `bait` says where, and is written first.
	u32 planned, stands_by, lingering;
	u32 bait;
	u32 hungry, giving;	// an unmapper gets no memory; or discards what it moves. One at a time
	u32 seen_away;		// walker 0 has read the table while that is away
	u32 posted;		// an unmapper has unmapped what was asked for, and now others have to sweep
	u64 chances;		// walker 0's own
	u64 op_ns;		// how long an unmapper's last operation took: an emulated machine may be very slow
};

struct worker {
	struct load *load;
	unsigned index;		// among all workers: gives it a word of its own in each page, and a place to move to
	unsigned home;		// the CPU that it was made on
	bool lingers;		// walker 0. When it may do so again (ns):
	u64 next_linger;
	unsigned at;		// the space that an unmapper calls its own
	unsigned inside;	// the space that it runs in; nr_spaces: in none
	u64 seed;
	struct mm_load_result found;
	struct thread *thread;
} __cacheline;

struct slot {
	unsigned g, i;
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
	case 0: return (struct slot){ g, i, base, 4, 1, 4 * PAGE_SIZE };
	case 1: return (struct slot){ g, i, base + level_size(2), 2, 1, 2 * PAGE_SIZE };
	case 2: return (struct slot){ g, i, base + level_size(3), 3, 1, 3 * PAGE_SIZE };
	default: break;
	}
	if (g < WHOLE_GROUPS)
		return (struct slot){ g, i, base + 2 * level_size(3), MOST_PAGES, g < LARGE_GROUPS ? 2 : 1, level_size(2) };
	return (struct slot){ g, i, base + 2 * level_size(3) + level_size(2) - PAGE_SIZE, 2, 1, 2 * PAGE_SIZE };
}

// The page that stays. Each space has one.
#define STILL_VA group_base(GROUPS)

// ---- Whose page it is (load/stamp.c) -----------------------------------------------------------------------------

struct ending {			// of the mapping of a slot's pages, while it is under way
	u32 number[MOST_PAGES];
	u32 moves;
	bool counts;
};
struct life *lives_alloc(unsigned spaces);	// NULL: out of memory; free it by kfree()
// Around an operation after which none of these pages is mapped where it was. If it has failed: no ending_done().
void ending_begin(struct load *l, unsigned at, const struct slot *s, struct ending *e);
void ending_done(struct load *l, unsigned at, const struct slot *s, const struct ending *e);
// Around moves of a slot away and back.
void move_begin(struct load *l, unsigned at, const struct slot *s);
void move_done(struct load *l, unsigned at, const struct slot *s);
void stamp_slot(struct load *l, unsigned at, const struct slot *s);	// what has just been mapped
void stamp_elsewhere(struct load *l, unsigned at, vaddr_t va);		// a page outside the slots
u32 ended_before(struct load *l, unsigned at, const struct slot *s, unsigned page);	// to be asked before a walk
u32 up_before(struct load *l, unsigned at, const struct slot *s, unsigned page);	// before an access by its user
// May a page at va show `seen`: no stamp yet, or a stamp of that place in a generation that had not ended (`least`)?
bool stamp_fits(unsigned at, vaddr_t va, u64 seen, u32 least);

// ---- Threads and CPUs -----------------------------------------------------------------------------------------------

// Threads' functions; the argument is their struct worker.
int unmapper(void *worker);
int walker(void *worker);
int robber(void *worker);
int interrupter(void *worker);
void wander(struct worker *w);	// now and then: off to another CPU, back home, or asleep for a while
void go_in_or_out(struct worker *w, unsigned at);	// from now on it runs in that space; nr_spaces: in none
// Before the threads: sets up what counts walks in interrupts and NMIs, one for each CPU, with indices from
// first_index.
void interrupts_begin(struct load *l, unsigned first_index, u64 seed);
void interrupts_so_far(struct mm_load_result *r);	// how many walks
void interrupts_add(struct mm_load_result *r);	// after the threads: all that they have counted
void mm_load_add(struct mm_load_result *sum, const struct mm_load_result *part);	// what workers count
void linger_begin(const struct load *l);	// before the threads
void walk_in_own_nmi(void);	// at once, if no walk in an NMI of this CPU is under way. Not in an NMI

void put_up(struct worker *w, unsigned at, const struct slot *s);	// map the slot, and stamp its pages
// Pin some pages of the slot, from page `first` on, and judge them. May sleep.
void pin_some(struct worker *w, unsigned at, struct slot s, unsigned first);
// The same without the slow path. Any context but NMI.
void pin_fast(struct worker *w, unsigned at, const struct slot *s, unsigned first, unsigned n, bool write);
void read_as_user(struct worker *w, const struct slot *s);	// a page of it, in the space that the worker runs in
void linger_now_and_then(struct worker *w, unsigned at);	// walker 0: in a walk, or in a step of a flush
