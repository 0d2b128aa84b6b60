// SPDX-License-Identifier: MIT
// Kernel threads that wait for a futex as a program's threads would: they run in the same space.
#pragma once
#include "kernel/thread.h"
#include "proc/futex.h"
#include "tests/mm/help.h"

#define WORD BASE			// in a page that is present
#define WORD2 (BASE + 64)

struct sleeper {
	struct space *s;
	vaddr_t va;
	u32 bitset, expected;
	bool shared;
	u64 deadline;
	struct thread *t;
	s64 result;
};

// The calling thread in a new space with pages on [BASE, BASE + 4 pages), zeroed. NULL: failed.
struct space *futex_space(void);
void futex_space_end(struct space *s);		// EXPECTs that nobody waits any more
u32 word_read(vaddr_t va);
u32 word_xchg(vaddr_t va, u32 v);
u32 word_cmpxchg(vaddr_t va, u32 expected, u32 v);	// returns what was there
// Let a thread wait on that CPU while the word is 0 (sleeper_start_as(): what its fields say). sleeper_asleep(): it sleeps in its bucket. By the test.
void sleeper_start(struct sleeper *w, struct space *s, vaddr_t va, unsigned cpu);
void sleeper_start_as(struct sleeper *w, unsigned cpu);	// its fields are set
void sleeper_asleep(struct sleeper *w);
s64 sleeper_end(struct sleeper *w);			// joins; what futex_wait() has returned
