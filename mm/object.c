// SPDX-License-Identifier: MIT
// See object.h. The pages hang in a radix tree of frames that are full of pointers; a frame is made when a page below it is
// first asked for, and goes with the object.
#include "mm/object.h"
#include "kernel/errno.h"
#include "kernel/panic.h"
#include "mm/frame/page.h"
#include "mm/frame/slab.h"

#define FANOUT_BITS 9	// pointers in a frame

static struct slab_cache *objects;
static u64 last_id;

void object_init(void)
{
	objects = slab_create("object", sizeof(struct object), 8);
	BUG_ON(!objects);
}

u64 object_count(void) { return slab_in_use(objects); }

static unsigned height_for(u64 pages)
{
	unsigned height = 1;

	while (pages > 1ull << height * FANOUT_BITS)
		height++;
	return height;
}

struct object *object_create(u64 size)
{
	struct object *o = slab_alloc(objects);

	if (!o)
		return NULL;
	*o = (struct object){ .id = fetch_add(&last_id, 1) + 1, .users = 1, .pages = size >> PAGE_SHIFT,
		.height = height_for(size >> PAGE_SHIFT) };
	return o;
}

void object_get(struct object *o) { o->users++; }

static void free_tree(void **node, unsigned height)
{
	for (unsigned i = 0; i < 1u << FANOUT_BITS; i++) {
		if (!node[i])
			continue;
		if (height == 1)
			page_put(node[i]);
		else
			free_tree(node[i], height - 1);
	}
	page_put(virt_to_page(node));
}

void object_put(struct object *o)
{
	if (--o->users)
		return;
	if (o->root)
		free_tree(o->root, o->height);
	slab_free(objects, o);
}

static void **slot_in(void **node, u64 n, unsigned height)
{
	return &node[n >> (height - 1) * FANOUT_BITS & ((1u << FANOUT_BITS) - 1)];
}

static bool make_node(void **at)
{
	struct page *frame = *at ? NULL : page_alloc(0, PAGE_KERNEL, PG_ZERO);

	if (frame)
		*at = page_to_virt(frame);
	return *at;
}

int object_page(struct object *o, u64 n, struct page **page)
{
	void **at = (void **)&o->root;

	if (n >= o->pages)
		return -ENXIO;
	for (unsigned height = o->height; height; height--) {
		if (!make_node(at))
			return -ENOMEM;
		at = slot_in(*at, n, height);
	}
	if (!*at) {
		struct page *new = page_alloc(0, PAGE_ANON, PG_ZERO);

		if (!new)
			return -ENOMEM;
		new->private = 0;
		*at = new;
		o->present++;
	}
	*page = *at;
	return 0;
}

bool object_has(const struct object *o, u64 n)
{
	void *at = o->root;

	for (unsigned height = o->height; height && at; height--)
		at = *slot_in(at, n, height);
	return n < o->pages && at;
}
