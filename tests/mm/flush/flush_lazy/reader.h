// SPDX-License-Identifier: MIT
// A thread that reads a page and has not swept while the page is taken away under tlb_flush=lazy; and one that drains.
#pragma once
#include "kernel/thread.h"
#include "mm/space.h"

#if CHECK
enum { OLD = 0x1111, NEW = 0x2222 };	// what the page holds; what another one in its place does

// A thread of another CPU runs in the space and keeps interrupts off from its first read of the page until it is told to
// go on, or somebody waits for its CPU to flush. It reads once more then, and once more when it has swept.
struct reader {
	struct space *s;
	vaddr_t va;
	u32 there, go;
	u32 no_sweep;			// none will come: nothing is put off
	u32 done;			// what the test does meanwhile has returned
	bool held_reads, held_again;	// could BASE be read: at first, and just before interrupts go on
	bool done_before;		// … was the other done when it was read again
	u64 held_value;
	bool after_reads;		// … after a sweep
};
// Each round takes another address: a TLB with few sets may not keep the entry.
#define READER_ROUNDS 16
struct thread *reader_begin(struct reader *r, const char *policy, unsigned round);	// NULL: failed. It has read OLD

// Unmap under a reader, then `what` must not leave the old page in reach; and does, if it does not settle first.
// `beside`: a page is reserved two pages on from the start, and nothing is at it.
void reader_needs_settling(void (*what)(const struct reader *), bool beside);

// A thread's function. Completes what is complete, calls the others, waits. The kernel's own thread for that may have
// its place on the CPU that a test holds.
int deferred_drainer(void *unused);
bool deferred_drained_or_asleep(const struct thread *drainer);
#endif
