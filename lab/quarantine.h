// SPDX-License-Identifier: MIT
// Freed tables stay poisoned for a while, so that a walker which should not be there finds poison and not somebody's
// data; nobody may write to them meanwhile. Checking builds only.
#pragma once
#include "kernel/types.h"

struct page;

#if CHECK
void quarantine_take(struct page *table, bool hit);	// FREE; one that was hit (somebody was inside) is never reused
void quarantine_spoilt(const struct page *table, const char *what);	// counts it and fails the run
void quarantine_drain(void);	// give all pages back (tests that balance frames). May sleep
u64 quarantine_count(void);
u64 quarantine_spoiled(void);	// how many had been written to, or were not as empty as was said: those stay for ever
void quarantine_expect(const struct page *table);	// tests: of this one the run is not to fail. NULL: none
#else
static inline void quarantine_take(struct page *table, bool hit) { }
static inline void quarantine_spoilt(const struct page *table, const char *what) { }
static inline void quarantine_drain(void) { }
#endif
