// SPDX-License-Identifier: MIT
// Checking builds look whether a back-end's report is true: each CPU that it reports as proved (mm/flush/flush.h) must
// have run a cross-CPU call between the two. One that has not is a violation (VIOLATION_UNPROVED). (The report of a
// deferred record is not looked at here: it rests on a sweep, whose places are listed at flush_sweep().)
#pragma once
#include "mm/flush/flush.h"

#if CHECK
void proof_begin(void);		// preemption off until proof_end()
void proof_end(const struct flush *f, const struct cpumask *proved);
#else
static __always_inline void proof_begin(void) { }
static __always_inline void proof_end(const struct flush *f, const struct cpumask *proved) { }
#endif
