// SPDX-License-Identifier: MIT
// A memory object: the pages of shared anonymous memory, which outlive the page tables that lead to them. Each page has one
// reference of its object's and one of each leaf's. The regions that map an object hold a count of it.
//
// All under the lock of the one space that maps the object (no object is mapped by two yet).
#pragma once
#include "kernel/types.h"
#include <arch/pte.h>

struct page;

struct object {
	u64 id;			// never used again
	u64 users;		// regions
	u64 pages;		// its size
	u64 present;		// pages that it has
	bool counted;		// held.c's
	unsigned height;	// of the tree of pages; 1: its root holds pages
	void **root;		// NULL: none yet
};

struct object *object_create(u64 size);		// bytes, a multiple of the page size; one count. NULL: no memory
void object_get(struct object *o);
void object_put(struct object *o);		// the last one drops the pages
// The n-th page, zeroed when first asked for. -ENXIO: behind the end. -ENOMEM.
int object_page(struct object *o, u64 n, struct page **page);
bool object_has(const struct object *o, u64 n);	// has that page been asked for?
u64 object_count(void);				// that exist (tests)
void object_init(void);
