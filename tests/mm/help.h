// SPDX-License-Identifier: MIT
// What the suites of mm/ share: frames that must balance, threads that are truly gone, a back-end that does not flush.
#pragma once
#include "kernel/thread.h"
#include "lab/counter.h"
#include "mm/policy/verdict.h"
#include <arch/tlb.h>
#include <arch/uaccess.h>

struct space;

#define BASE 0x10000000000ull		// where the tests map: the start of an L3 table
#define FAR (BASE + level_size(4))	// under other tables at every level
#define RW (PROT_R | PROT_W)

// Between begin and end exactly as many frames are given back as are taken. Both wait for everything that is deferred.
// EXPECTs. Threads between the two are created and joined by mm_thread() and mm_join().
struct mm_balance {
	u64 frames, spaces;
};
// Creates what is created once and kept: each CPU's callback thread, and stacks. Before threads or frames are counted.
void mm_warm_up(void);
u64 mm_settled_frames(void);	// free frames when nothing is deferred any more and no cache holds any. May sleep
void mm_balance_begin(struct mm_balance *b);
void mm_balance_end(const struct mm_balance *b);

// As thread_create(), at normal priority, and thread_join(); after the join the thread's memory has been given back.
struct thread *mm_thread(const char *name, int (*fn)(void *), void *arg, unsigned cpu);
int mm_join(struct thread *t);
unsigned mm_other_cpu(unsigned k);	// the k-th CPU, in a circle, that is not the caller's: 0, 1, …

// Flushes nothing and proves nothing. It also takes the generation back, so that lazy CPUs do not catch up. With it, a
// test that demands a flush must fail. Not for the command line.
extern const struct flush_backend mm_flush_none;

// A thread's function: runs in the space until it is told to go. It lets no other thread run on its CPU meanwhile, so
// the CPU does not become lazy.
struct mm_resident {
	struct space *s;
	u32 there, go;		// it runs; set by the test
};
int mm_reside(void *resident);

// A space under the pair, with pages on [BASE, BASE + len). NULL: failed.
struct space *mm_populated(const struct table_policy *p, const struct flush_backend *b, u64 len);
// A thread's function: runs in the space and writes to the cpu_id()-th page from BASE on. Its CPU keeps the root until
// it is made to leave it.
int mm_visit(void *space);

// The table of `level` through which va is reached, or NULL; and the state it is in.
struct page *mm_table(struct space *s, vaddr_t va, int level);
enum table_state mm_state(const struct page *table);
// The default policy; or rcu, if that one keeps tables: for tests that count what an unmap frees.
const struct table_policy *mm_freeing_policy(void);
// Puts the last count of a space in which that table was emptied, by now: the table is FREE when its policy has drained.
// Or it is still linked, if the policy keeps tables, and FREE when the space has ended. EXPECTs.
void mm_put_emptied(struct space *s, const struct page *table);
bool mm_poisoned(const struct page *table);	// no entry is present
unsigned mm_regions(struct space *s);
// User accesses of the space that the calling thread runs in.
bool mm_reads(vaddr_t va, u64 expected);
bool mm_faults(vaddr_t va);			// neither to be read nor to be written
struct counters mm_counted_since(const struct counters *before);	// what all CPUs have counted since counters_snapshot()
// How often this CPU has counted. A thread stays on its CPU unless it asks to move.
#define mm_counted_here(name) READ_ONCE(this_cpu_ptr(&counters)->name)
