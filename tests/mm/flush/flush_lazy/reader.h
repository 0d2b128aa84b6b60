// SPDX-License-Identifier: MIT
// A thread that reads a page and has not swept while the page is unmapped under tlb_flush=lazy; and a thread that
// drains.
#pragma once
#include "kernel/thread.h"
#include "mm/space.h"

#if CHECK
enum { OLD = 0x1111, NEW = 0x2222 };	// contents of the page; of another page in its place

// A thread on another CPU runs in the space and keeps interrupts off from its first read of the page until it is told
// to go on, or somebody waits for its CPU to flush. Then it reads once more, and again after it has swept.
struct reader {
	struct space *s;
	vaddr_t va;
	u32 there, go;
	u32 no_sweep;			// no sweep will come: nothing is deferred
	u32 done;			// the test's operation has returned
	bool held_reads, held_again;	// could BASE be read at first, and just before interrupts go on?
	bool done_before;		// … had the test's operation returned by that second read?
	u64 held_value;
	bool after_reads;		// … could it be read after a sweep?
};
// Each round takes another address: a TLB with few sets may not keep the entry.
#define READER_ROUNDS 16
struct thread *reader_begin(struct reader *r, const char *policy, unsigned round);	// NULL: failed. It has read OLD

// Unmap under a reader; then `what` must not leave the old page reachable, and does so if it does not settle first.
// before: what comes before the unmap, or NULL.
void reader_needs_settling(void (*what)(const struct reader *), void (*before)(const struct reader *));

// A thread's function: drains, that is, completes what is complete, calls the other CPUs, waits. The back-end's own
// thread may run on the CPU that a test holds.
int deferred_drainer(void *unused);
bool deferred_drained_or_asleep(const struct thread *drainer);
#endif
