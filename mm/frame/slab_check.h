// SPDX-License-Identifier: MIT
// Checking builds put a tail behind each object: a red word that says whether the object is allocated (an overrun
// damages it, a double free finds it already free) and the free list's link, out of a stale pointer's way. Free objects
// are poisoned, and the poison must be whole when they are allocated again.
#pragma once
#include "kernel/types.h"

#if CHECK
struct slab_tail {
	u64 red;
	void *next;
};
#define SLAB_TAIL sizeof(struct slab_tail)

static inline struct slab_tail *slab_tail(void *obj, u32 size)
{
	return (struct slab_tail *)((char *)obj + ALIGN_UP(size, (u32)sizeof(u64)));
}
static inline void **slab_link(void *obj, u32 size) { return &slab_tail(obj, size)->next; }

void slab_check_new(void *obj, u32 size);	// a free object of a new slab
bool slab_check_alloc(void *obj, u32 size);	// false: it was written to while free (reported); do not use it
bool slab_check_free(void *obj, u32 size);	// false: overrun or double free (reported); leave it alone
#else
#define SLAB_TAIL 0
static inline void **slab_link(void *obj, u32 size) { return obj; }
static inline void slab_check_new(void *obj, u32 size) { }
static inline bool slab_check_alloc(void *obj, u32 size) { return true; }
static inline bool slab_check_free(void *obj, u32 size) { return true; }
#endif
