// SPDX-License-Identifier: MIT
// The oracle (DESIGN 5): checking builds watch every software walker. A walker publishes each table of its path; the
// FREE step scans what is published. A hit is one violation. Independent of the policy under test.
//
//   walker                                   freer: the CPU that frees (tables_free)
//   ------                                   ---------------------------------------
//   slot.path[level] = table                 state = FREE
//   full barrier                     <-->    full barrier
//   state must not be FREE                   no slot may name the table
//   (nor QUIESCED: a table that is kept)     (the same when it is kept, or reused)
//
// At least one of the two sees the other. Between a walker's reading of an entry and its publishing of the table that
// the entry names, that table must not be reused: it leaves the quarantine only after a grace period, and every walker
// is an RCU reader. (A table that is reused without having been FREE does not pass the quarantine: a walker in that gap
// publishes it under its new birth number and is not reported. Tests of `wait` hold their walker after the gap.)
#pragma once
#include "mm/policy/policy.h"

enum violation_kind {
	VIOLATION_WALK,		// a software walker reads a freed table
	VIOLATION_STALE_TABLE,	// a CPU's paging-structure cache leads to a freed table: found by the adversary
	VIOLATION_STALE_LEAF,	// a CPU's TLB leads to a data page that has been freed: found by the adversary
	VIOLATION_NO_TARGET,	// a walk begins on a CPU that a flush would not target, though its policy says it would
	VIOLATION_UNFLUSHED,	// a grace period has ended for a table that is not flushed yet
	VIOLATION_UNPROVED,	// a back-end reports a CPU that has taken no call (lab/proof.h)
};

struct violation {
	enum violation_kind kind;
	const char *policy, *flush;
	const char *seen_by;		// "walker" or "freer"; "adversary"; "flush"; "callback"
	paddr_t table;			// or the data page
	int level;
	unsigned cpu, walker_cpu;	// the CPU that found it; the CPU that still reads it
	u64 at;				// cycles() when it was found
	vaddr_t va;
	unsigned depth;			// of the backtrace
	uintptr_t backtrace[8];
	uintptr_t walker_pc;		// where the walk was called
};

#if CHECK
void oracle_enter(struct space *s, vaddr_t va, uintptr_t caller);
void oracle_check_target(const struct table_policy *p, const struct space *s);	// does p.walkers_are_targets hold for
				// the walk that has begun here?
void oracle_publish(int level, struct page *table);	// before its first entry is read
void oracle_leave(int level);		// the table of that level, if any, is read no more (its policy may let go of it)
void oracle_exit(void);
bool oracle_table_freed(struct page *table, const struct table_policy *policy);	// scan; true: a walker is there
bool oracle_table_reused(struct page *table, const struct table_policy *policy);	// the same for a table of new birth
bool oracle_walking(void);		// is there a walker on some CPU?
#else
static __always_inline void oracle_enter(struct space *s, vaddr_t va, uintptr_t caller) { }
static __always_inline void oracle_check_target(const struct table_policy *p, const struct space *s) { }
static __always_inline void oracle_publish(int level, struct page *table) { }
static __always_inline void oracle_leave(int level) { }
static __always_inline void oracle_exit(void) { }
static __always_inline bool oracle_table_freed(struct page *table, const struct table_policy *policy) { return false; }
static __always_inline bool oracle_table_reused(struct page *table, const struct table_policy *policy) { return false; }
static __always_inline bool oracle_walking(void) { return false; }
#endif
void oracle_report(const struct violation *v);	// count, record and print; `cpu`, `at` and the backtrace are filled in. Any context
u64 oracle_violations(void);		// since boot or the last reset
u64 swmmu_violations(void);		// of these: those that the software MMU found
void oracle_reset(void);
unsigned oracle_records(struct violation *out, unsigned max);	// the first ones recorded since the reset
void oracle_print(const struct violation *v);			// klog
// The tests that run an unsafe policy on purpose say so; any other violation makes the run fail.
void oracle_expect_violations(bool on);
