// SPDX-License-Identifier: MIT
// Small objects: slab caches over page frames, and kmalloc in power-of-two classes on top. Any context but NMI.
#pragma once
#include "kernel/types.h"

struct slab_cache;
// Create a cache (there is no way to destroy one); `name` is kept. NULL: too many caches, or a size that does not fit.
struct slab_cache *slab_create(const char *name, size_t size, size_t align);
void *slab_alloc(struct slab_cache *c);		// not zeroed; NULL: out of memory or injected failure
void slab_free(struct slab_cache *c, void *obj);
u64 slab_in_use(struct slab_cache *c);		// objects
void slab_shrink(void);				// give empty slabs back, so that frames balance in tests. May sleep

// Up to 1 MiB (beyond 2 KiB whole frames); NULL on failure. Aligned to 64 bytes, or to the next power of two if smaller.
void *kmalloc(size_t size);
void *kzalloc(size_t size);
void kfree(void *p);				// NULL is fine
void slab_init(void);
