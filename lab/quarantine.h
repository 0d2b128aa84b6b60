// SPDX-License-Identifier: MIT
// Freed tables stay poisoned for a while, so that a walker which should not be there finds poison and not somebody's
// data; nobody may write to them meanwhile. Checking builds only.
#pragma once
#include "kernel/types.h"

struct page;

#if CHECK
void quarantine_take(struct page *table, bool hit);	// it is FREE; never reused if it was hit (a walker is inside)
void quarantine_spoilt(const struct page *table, const char *what);	// counts it and fails the run
void quarantine_drain(void);	// give all pages back (tests that balance frames). May sleep
u64 quarantine_count(void);
u64 quarantine_spoiled(void);	// how many were written to, or were not as empty as was said; those are never reused
void quarantine_expect(const struct page *table);	// tests: this one may be spoiled without failing the run
#else
static inline void quarantine_take(struct page *table, bool hit) { }
static inline void quarantine_spoilt(const struct page *table, const char *what) { }
static inline void quarantine_drain(void) { }
#endif
