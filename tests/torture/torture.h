// SPDX-License-Identifier: MIT
// Inside mode=torture: random operations on random spaces on all CPUs, and all that can disturb them. Files:
//
//	torture.c          the run: rounds, each with a world of its own, balanced at its end
//	world.c            spaces that come and go; stamps, and what a page may hold
//	ops.c              what workers do to shared addresses, and walks and user accesses anywhere
//	scene.c            a worker's own addresses, where it knows exactly what must be found
//	trouble.c          traps for walks; migrations, idle times, RCU load, failing allocations; preempted CPUs,
//	                   switches, delays
//	watch.c            progress once a second, and the watchdog
//	unsafe.c           a named unsafe pair: convicted by the load of tests/load/load.h
//
// Addresses of every space, by entry of the root (512 GiB each). DIST is the only distance by which anything is moved,
// and only upwards:
//
//	1, 2, 3    shared: any worker, any time                     ──> moved to 9, 10, 11
//	4          strips: 8 pages per worker, 8 workers to a table     never moved
//	5          blocks: 2 MiB per worker                          ──> moved to 13
//
// Stamps. Word 0 of a page is 0, or says to which space and address it belongs. Shared pages are stamped with the
// address from which they may have been moved, so that a stamp is right at both. A block's owner stamps pages
// before it moves them, and after that only pages that are allocated at the new address: a page with such a stamp was
// never at the old one.
#pragma once
#include "kernel/lib.h"
#include "kernel/spinlock.h"
#include "kernel/thread.h"
#include "mm/policy/policy.h"
#include "mm/space.h"

#define MAX_SLOTS 12
#define MORE_WORKERS 8u		// at most so many more than CPUs
#define MOST_WORKERS 40u	// they wander over all CPUs; more would make RCU report stalls on a host of few cores
#define TROUBLEMAKERS 3		// threads besides the workers
#define SHARED_GROUPS 3
#define ENTRY_SHARED 1u
#define ENTRY_STRIPS 4u
#define ENTRY_BLOCKS 5u
#define DIST (8ull << 39)
#define STRIP_PAGES 8u
#define HELD_PINS 8
#define BLOCK level_size(2)
#define RANDOM(w, n) ((unsigned)(rand_next(&(w)->seed) % (n)))

// What went wrong. Each is a violation.
#define TORTURE_FAULTS(X) \
	X(bad_pin, "a pinned page is another's, or no user page") \
	X(lost_write, "somebody else wrote to a page while it was pinned") \
	X(bad_read, "user memory shows another's page") \
	X(bad_value, "a worker's own page does not hold what its owner wrote, or zeroes when fresh") \
	X(stale_value, "a page of a scene shows what had been unmapped or discarded before") \
	X(bad_access, "an access that must fault does not, or the reverse") \
	X(bad_error, "an operation returned an error that it must not return, or none where it must fail") \
	X(early_free, "an object of an RCU reader was freed under it, or a grace period was too short") \
	X(over_bound, "more pages wait to be freed than pending_max allows")

enum torture_fault {
#define X(name, text) FAULT_##name,
	TORTURE_FAULTS(X)
#undef X
	NR_FAULTS
};

struct slot {			// a place for a space that comes and goes
	struct spinlock lock;
	struct space *space;	// with a reference; NULL: could not be created
	u64 serial;		// of that space: never used again. Nonzero
};

struct ref {			// a space that the holder may use
	struct space *space;	// NULL: none
	u64 serial;
	unsigned slot;
};

struct held_pin {
	struct page *page;	// NULL: free
	u64 stamp;		// word 0 when it was pinned
	u64 own;		// what the worker wrote into its own word
	bool write;
};

struct beat {			// a sign of life of each thread
	u64 done;		// operations
	const char *doing;	// the one under way
	struct thread *thread;
	u32 over;		// it has nothing more to do
	u64 seen, epoch;	// the watchdog's
};

struct worker {
	struct beat beat;
	int (*fn)(void *worker);
	unsigned index;		// among the workers
	unsigned home;		// the CPU that it was made on
	u64 seed;
	struct ref attached;	// the space that it runs in
	struct held_pin held[HELD_PINS];
	// Where its scene plays, for others to look at; hot_va 0: nowhere. Word 1 of a page grows with each write; no
	// CPU may reach a value below `floor` any more.
	u64 hot_serial;
	vaddr_t hot_va;
	u64 values;
	u64 floor[STRIP_PAGES];
	vaddr_t last_va;	// where it found a page the last time, or 0
	u64 injected;		// allocations that failed on purpose
} __cacheline;

struct world {
	struct slot slot[MAX_SLOTS];
	unsigned nr_slots, nr_workers;
	bool switches;			// no pair was named
	u32 stop;
	u64 serials;
	u64 thefts, delays, changes;	// of the troublemakers
	u64 trapped;			// walks that were held where a table was about to be unlinked
	u32 bait_slot;			// 1 + the slot in which a trap waits for a walk to bait_va, or 0
	vaddr_t bait_va;
	u64 fault[NR_FAULTS];
	struct worker worker[NR_CPUS + MORE_WORKERS + TROUBLEMAKERS];
};
extern struct world world;

static inline bool stopping(void) { return READ_ONCE(world.stop); }
u64 torture_faults(void);			// of this round
// Count; the first ones are printed.
void torture_fault(enum torture_fault f, const struct ref *r, vaddr_t va, u64 seen);

// torture/world.c
bool world_create(u64 seed);
void world_destroy(void);
struct ref world_take(unsigned slot);		// with a reference; .space NULL: the slot is empty
void world_drop(struct ref *r);
// Puts another space into the slot; the old one lives as long as it is used.
void world_renew(struct worker *w, unsigned slot);
void attach_somewhere(struct worker *w);	// or nowhere
bool random_safe_pair(u64 *seed, const struct table_policy **p, const struct flush_backend **b);
u64 stamp_of(u64 serial, vaddr_t va);
bool is_shared(vaddr_t va);
bool stamp_right(u64 serial, vaddr_t va, u64 stamp);
vaddr_t strip_of(unsigned worker);
vaddr_t block_of(unsigned worker);

// torture/ops.c
void shared_operation(struct worker *w, const struct ref *r);
void take_bait(struct worker *w, const struct ref *r);	// changes what a trap waits at
void walk_somewhere(struct worker *w, const struct ref *r);
void touch_somewhere(struct worker *w);		// as a user of the attached space
void release_pin(struct held_pin *h, const struct worker *w);
void check_error(const struct ref *r, vaddr_t va, int err, u64 allowed);
#define MAY(e) (1ull << (e))			// for `allowed`; -ENOMEM always is

// torture/scene.c
void play_strip(struct worker *w, const struct ref *r);
void play_block(struct worker *w, const struct ref *r);

// torture/trouble.c
void wander_off(struct worker *w);			// another CPU, or asleep
void rcu_load(struct worker *w);
void rcu_look(struct worker *w);
void rcu_load_end(void);			// frees all that rcu_load() has allocated
bool inject_begin(struct worker *w);		// for one worker at a time: its allocations fail, until …
void inject_end(struct worker *w);
bool trap_begin(struct worker *w, const struct ref *r, vaddr_t va, u64 len, bool alone);	// false: not this time
void trap_end(struct worker *w);		// after one that began
int rob_cpus(void *worker);
int switch_pairs(void *worker);
int delay_steps(void *worker);

// torture/watch.c
void watch_start(struct beat *main);		// `main` is watched from here to watch_stop()
void watch_stop(void);
void watch_add(struct beat *b);			// and these until watch_clear()
void watch_clear(void);
void watch_print(void);				// a line of progress now
void hang_now(struct worker *w);		// hang=: the watchdog's own test
static inline void beat(struct beat *b, const char *next)
{
	WRITE_ONCE(b->doing, next);
	WRITE_ONCE(b->done, b->done + 1);
}

// torture.c: since the start of the run.
struct counters;
void torture_counters(struct counters *c);
u64 torture_operations(void);
u64 torture_injected(void);
u64 torture_thefts(void);
u64 torture_switches(void);
u64 torture_violations(void);

// torture/unsafe.c
int torture_unsafe(u64 seconds);		// the exit status
