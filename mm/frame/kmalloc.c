// SPDX-License-Identifier: MIT
// kmalloc: slab caches of 16, 32, … 2048 bytes; beyond that whole frames. kfree() tells them apart by the descriptor.
#include "kernel/lib.h"
#include "mm/frame/page.h"
#include "mm/frame/slab.h"

#define MIN_SHIFT 4
#define MAX_SHIFT 11
#define KMALLOC_MAX (1ull << 20)

static struct slab_cache *classes[MAX_SHIFT - MIN_SHIFT + 1];

static unsigned shift_for(size_t size) { return size < 2 ? 0 : 64 - (unsigned)__builtin_clzll(size - 1); }

void slab_init(void)
{
	static const char *const names[] = {
		"kmalloc-16", "kmalloc-32", "kmalloc-64", "kmalloc-128", "kmalloc-256", "kmalloc-512", "kmalloc-1024",
		"kmalloc-2048",
	};
	_Static_assert(ARRAY_SIZE(names) == ARRAY_SIZE(classes), "a name for each class");

	for (unsigned i = 0; i < ARRAY_SIZE(classes); i++) {
		size_t size = 1ull << (MIN_SHIFT + i);

		classes[i] = slab_create(names[i], size, MIN(size, (size_t)CACHE_LINE));
	}
}

void *kmalloc(size_t size)
{
	unsigned shift = MAX(shift_for(size), (unsigned)MIN_SHIFT);
	struct page *p;

	if (shift <= MAX_SHIFT)
		return slab_alloc(classes[shift - MIN_SHIFT]);
	if (size > KMALLOC_MAX)
		return NULL;
	p = page_alloc(MAX(shift, (unsigned)PAGE_SHIFT) - PAGE_SHIFT, PAGE_KERNEL, 0);
	return p ? page_to_virt(p) : NULL;
}

void *kzalloc(size_t size)
{
	void *p = kmalloc(size);

	return p ? memset(p, 0, size) : NULL;
}

void kfree(void *p)
{
	struct page *head;

	if (!p)
		return;
	head = page_head(virt_to_page(p));
	if (head->kind == PAGE_SLAB)
		slab_free((struct slab_cache *)(uintptr_t)head->private, p);
	else if (head->kind == PAGE_KERNEL && p == page_to_virt(head))
		page_put(head);
	else
		alloc_error("kfree of a pointer that is not kmalloc's", p);
}
