// SPDX-License-Identifier: MIT
// The scene of a walk in an interrupt or an NMI, on a CPU that walks nowhere else (history/context.c).
#pragma once
#include "mm/policy/policy.h"
#include "tests/mm/walk/hold.h"

#if CHECK
struct context_walk {
	struct space *s;
	struct page *upper;		// the table of level 2, which the walker is in: hazard pointers name it, too
	unsigned cpu;
	u32 there, returned, ended;
	unsigned got;
	struct page *page;
	u32 too_early;			// how often it was quiesced or free while the walker was held
};
// Each begins the walk on its CPU.
void context_nmi(struct context_walk *sc);
void context_interrupt(struct context_walk *sc);
// Unmaps one page, with its tables, under that walk, which calls `held` in the table `upper`. `busy`: the walk
// interrupts a thread; otherwise, most likely, an idle CPU. EXPECTs that the walk is waited for, as far as `held`
// checks that.
void context_unmap_under_walk(const struct table_policy *p, void (*begin)(struct context_walk *),
			      void (*held)(struct stall_point *, void *), bool busy);
#endif
