// SPDX-License-Identifier: MIT
// Slab caches: objects of one size, cut from slabs (blocks of frames), with a list of free objects on each CPU in
// front.
//
//	slab_alloc/slab_free  <->  this CPU's list  <- batches, c->lock ->  slabs with a free object (c->partial)  <->  page_alloc
//	                           IRQs off only                            full slabs are on no list
//
// An object's slab is found through its frame's descriptor: the head of its block is PAGE_SLAB, .private names the
// cache.
#include "mm/slab.h"
#include "mm/page.h"
#include "mm/slab_check.h"
#include "kernel/inject.h"
#include "kernel/panic.h"
#include "kernel/spinlock.h"
#include "kernel/xcall.h"

#define SLAB_CACHES 64
#define SLAB_MAX_ORDER 3
#define SLAB_MAX_SIZE ((PAGE_SIZE << SLAB_MAX_ORDER) / 2)

struct slab_cache {
	struct spinlock lock;	// what follows `partial`, and each slab's free list
	const char *name;
	u32 size, stride;	// of an object; from one to the next
	u32 limit;		// of a CPU's list; half of it goes back at once
	u16 id;
	u8 order, min_order;	// of a slab; when memory is in pieces
	bool ready;
	struct list partial;	// slabs with a free object, by page.link; the empty ones last
	u32 empty;		// slabs with no object out
	u64 out;		// objects that are not in their slab: in use, or in some CPU's list
};

struct slab_cpu {
	void *free;
	u32 count;
};

static struct slab_cache caches[SLAB_CACHES];
static u32 nr_caches;
static DEFINE_PER_CPU(struct slab_cpu[SLAB_CACHES], slab_cpus);

static struct slab_cpu *this_list(const struct slab_cache *c) { return &(*this_cpu_ptr(&slab_cpus))[c->id]; }
static u32 slots(const struct slab_cache *c, unsigned order) { return (u32)((PAGE_SIZE << order) / c->stride); }
static void **link_of(const struct slab_cache *c, void *obj) { return slab_link(obj, c->size); }

// The smallest slab that wastes at most an eighth and holds some objects.
static unsigned best_order(const struct slab_cache *c)
{
	unsigned order = c->min_order;

	while (order < SLAB_MAX_ORDER && (slots(c, order) < 4 || (PAGE_SIZE << order) % c->stride > PAGE_SIZE << order >> 3))
		order++;
	return order;
}

struct slab_cache *slab_create(const char *name, size_t size, size_t align)
{
	struct slab_cache *c;
	u32 id;

	align = MAX(align, sizeof(u64));
	if (!size || size > SLAB_MAX_SIZE || align > PAGE_SIZE || (align & (align - 1)))
		return NULL;
	id = fetch_add(&nr_caches, 1);
	if (id >= SLAB_CACHES) {
		fetch_sub(&nr_caches, 1);
		return NULL;
	}
	c = &caches[id];
	spin_init(&c->lock, name, RANK_SLAB);
	list_init(&c->partial);
	c->name = name;
	c->id = (u16)id;
	c->size = (u32)size;
	c->stride = (u32)ALIGN_UP(ALIGN_UP(size, sizeof(u64)) + SLAB_TAIL, align);
	while (!slots(c, c->min_order))
		c->min_order++;
	c->order = (u8)best_order(c);
	c->limit = (u32)MAX(4ull, MIN(64ull, 2 * PAGE_SIZE / c->stride));
	store_release(&c->ready, true);		// pairs with for_each_cache(): slab_shrink() on another CPU
	return c;
}

#define for_each_cache(c) \
	for (struct slab_cache *c = caches; c < &caches[SLAB_CACHES]; c++) \
		if (load_acquire(&c->ready))

// A new slab. False: out of memory.
static bool grow(struct slab_cache *c)
{
	struct page *slab = page_alloc(c->order, PAGE_SLAB, PG_NOFAIL_INJECT);
	irqflags_t flags;
	char *base;

	if (!slab && c->min_order < c->order)
		slab = page_alloc(c->min_order, PAGE_SLAB, PG_NOFAIL_INJECT);
	if (!slab)
		return false;
	WRITE_ONCE(slab->private, (uintptr_t)c);
	slab->slab.free = NULL;
	slab->slab.in_use = 0;
	base = page_to_virt(slab);
	for (u32 i = slots(c, slab->order); i-- > 0;) {
		char *obj = base + (u64)i * c->stride;

		slab_check_new(obj, c->size);
		*link_of(c, obj) = slab->slab.free;
		slab->slab.free = obj;
	}
	flags = spin_lock_irqsave(&c->lock);
	list_push_back(&c->partial, &slab->link);
	c->empty++;
	spin_unlock_irqrestore(&c->lock, flags);
	return true;
}

// Lock held: move one object from a slab to the list.
static bool take_one(struct slab_cache *c, struct slab_cpu *list)
{
	struct page *slab;
	void *obj;

	if (list_empty(&c->partial))
		return false;
	slab = list_first(&c->partial, struct page, link);
	obj = slab->slab.free;
	slab->slab.free = *link_of(c, obj);
	if (!slab->slab.in_use++)
		c->empty--;
	if (!slab->slab.free)
		list_remove(&slab->link);
	*link_of(c, obj) = list->free;
	list->free = obj;
	WRITE_ONCE(list->count, list->count + 1);
	WRITE_ONCE(c->out, c->out + 1);
	return true;
}

// Lock held: move one object from the list to its slab; slabs that are no longer wanted go to `spare`.
static void give_one(struct slab_cache *c, struct slab_cpu *list, struct list *spare)
{
	void *obj = list->free;
	struct page *slab = page_head(virt_to_page(obj));

	list->free = *link_of(c, obj);
	WRITE_ONCE(list->count, list->count - 1);
	WRITE_ONCE(c->out, c->out - 1);
	if (!slab->slab.free)
		list_push_front(&c->partial, &slab->link);
	*link_of(c, obj) = slab->slab.free;
	slab->slab.free = obj;
	if (--slab->slab.in_use)
		return;
	list_remove(&slab->link);
	if (c->empty) {			// one is kept at hand
		list_push_back(spare, &slab->link);
	} else {
		list_push_back(&c->partial, &slab->link);
		c->empty++;
	}
}

static void put_slabs(struct list *spare)
{
	struct list *l;

	while ((l = list_pop_front(spare)))
		page_put(list_entry(l, struct page, link));
}

// IRQs off.
static void refill(struct slab_cache *c, struct slab_cpu *list)
{
	spin_lock(&c->lock);
	for (u32 n = c->limit / 2; n && take_one(c, list); n--)
		;
	spin_unlock(&c->lock);
}

// IRQs off.
static void give_back(struct slab_cache *c, struct slab_cpu *list, u32 n)
{
	struct list spare;

	list_init(&spare);
	spin_lock(&c->lock);
	while (n--)
		give_one(c, list, &spare);
	spin_unlock(&c->lock);
	put_slabs(&spare);
}

static void *take_object(struct slab_cache *c)
{
	irqflags_t flags = irq_save();
	struct slab_cpu *list = this_list(c);
	void *obj;

	if (!list->free)
		refill(c, list);
	obj = list->free;
	if (obj) {
		list->free = *link_of(c, obj);
		WRITE_ONCE(list->count, list->count - 1);
	}
	irq_restore(flags);
	return obj;
}

void *slab_alloc(struct slab_cache *c)
{
	void *obj;

	ASSERT(!in_nmi());
	if (inject_should_fail())
		return NULL;
	do {	// others may be quicker and empty the new slab
		obj = take_object(c);
	} while (!obj && grow(c));
	if (obj && !slab_check_alloc(obj, c->size))
		return NULL;	// damaged, and reported: it stays out of circulation
	return obj;
}

// Is obj the start of an object of this cache?
static bool belongs(const struct slab_cache *c, void *obj)
{
	struct page *slab = page_head(virt_to_page(obj));

	return slab->kind == PAGE_SLAB && slab->private == (uintptr_t)c &&
	       !((u64)((char *)obj - (char *)page_to_virt(slab)) % c->stride);
}

void slab_free(struct slab_cache *c, void *obj)
{
	irqflags_t flags;
	struct slab_cpu *list;

	ASSERT(!in_nmi());
	if (CHECK && !belongs(c, obj)) {
		alloc_error("freed object is not of this cache", obj);
		return;
	}
	if (!slab_check_free(obj, c->size))
		return;
	flags = irq_save();
	list = this_list(c);
	*link_of(c, obj) = list->free;
	list->free = obj;
	WRITE_ONCE(list->count, list->count + 1);
	if (unlikely(list->count > c->limit))
		give_back(c, list, c->limit / 2);
	irq_restore(flags);
}

u64 slab_in_use(struct slab_cache *c)
{
	u64 n = READ_ONCE(c->out);

	for_each_cpu(cpu)
		n -= READ_ONCE((*per_cpu_ptr(&slab_cpus, cpu))[c->id].count);
	return n;
}

static void shrink_interrupt(void *unused)
{
	for_each_cache(c)
		give_back(c, this_list(c), this_list(c)->count);
}

void slab_shrink(void)
{
	struct cpumask all;

	ASSERT_MAY_SLEEP();
	cpumask_copy(&all, &cpus_online);
	xcall_mask(&all, shrink_interrupt, NULL);
	for_each_cache(c) {
		struct list spare;
		irqflags_t flags;

		list_init(&spare);
		flags = spin_lock_irqsave(&c->lock);
		list_for_each_safe(l, &c->partial) {
			if (list_entry(l, struct page, link)->slab.in_use)
				continue;
			list_remove(l);
			list_push_back(&spare, l);
			c->empty--;
		}
		spin_unlock_irqrestore(&c->lock, flags);
		put_slabs(&spare);
	}
}
