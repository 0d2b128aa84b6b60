// SPDX-License-Identifier: MIT
// Lock checking: what a checking build does around each lock operation, and knows of the locks that are held. Nothing
// in release builds.
#pragma once
#include "kernel/spinlock.h"

#if CHECK
// For spinlock.c.
void lockcheck_before(struct spinlock *l, bool nested);	// about to spin for it
void lockcheck_taken(struct spinlock *l);
void lockcheck_release(struct spinlock *l);		// still held
int lockcheck_owner(struct spinlock *l);		// a CPU, -1: free
static inline const char *lock_name(struct spinlock *l) { return l->name ?: "spinlock"; }

// Why this CPU must not take l (or, for the second, release it) here and now; NULL: it may. A lock operation panics
// with that text.
const char *spin_lock_fault(struct spinlock *l, bool nested);
const char *spin_unlock_fault(struct spinlock *l);
bool spin_held(struct spinlock *l);		// by this CPU
bool spin_none_held(void);			// by this CPU
void locks_print_held(unsigned cpu);		// for panic and watchdog
u64 spin_locks_taken(void);			// by this CPU since boot
#else
static inline void lockcheck_before(struct spinlock *l, bool nested) { }
static inline void lockcheck_taken(struct spinlock *l) { }
static inline void lockcheck_release(struct spinlock *l) { }
static inline int lockcheck_owner(struct spinlock *l) { return -1; }
static inline const char *lock_name(struct spinlock *l) { return "spinlock"; }
static inline const char *spin_lock_fault(struct spinlock *l, bool nested) { return NULL; }
static inline const char *spin_unlock_fault(struct spinlock *l) { return NULL; }
static inline bool spin_held(struct spinlock *l) { return true; }
static inline bool spin_none_held(void) { return true; }
static inline void locks_print_held(unsigned cpu) { }
static inline u64 spin_locks_taken(void) { return 0; }
#endif
