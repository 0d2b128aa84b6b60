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
	u32 too_early;			// how often it was free while the walker was held
};
// What begins the walk, on its CPU.
void context_nmi(struct context_walk *sc);
void context_interrupt(struct context_walk *sc);
// One page and its tables go under that walk, which does `held` in the table `upper`. `busy`: it interrupts a thread;
// else most likely an idle CPU. EXPECTs that it is waited for, but for what `held` lets pass.
void context_unmap_under_walk(const struct table_policy *p, void (*begin)(struct context_walk *),
			      void (*held)(struct stall_point *, void *), bool busy);
#endif
