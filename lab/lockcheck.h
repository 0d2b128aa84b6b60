// SPDX-License-Identifier: MIT
// Inside spinlock.c: what a checking build does around each lock operation. Nothing in release builds.
#pragma once
#include "kernel/spinlock.h"

#if CHECK
void lockcheck_before(struct spinlock *l, bool nested);	// about to spin for it
void lockcheck_taken(struct spinlock *l);
void lockcheck_release(struct spinlock *l);		// still held
int lockcheck_owner(struct spinlock *l);		// a CPU, -1: free
static inline const char *lock_name(struct spinlock *l) { return l->name ?: "spinlock"; }
#else
static inline void lockcheck_before(struct spinlock *l, bool nested) { }
static inline void lockcheck_taken(struct spinlock *l) { }
static inline void lockcheck_release(struct spinlock *l) { }
static inline int lockcheck_owner(struct spinlock *l) { return -1; }
static inline const char *lock_name(struct spinlock *l) { return "spinlock"; }
#endif
