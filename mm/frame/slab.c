// SPDX-License-Identifier: MIT
// Slab caches: objects of one size, cut from slabs (blocks of frames), with a list of free objects on each CPU in
// front.
//
//	slab_alloc/slab_free  <->  this CPU's list  <- batches, c->lock ->  slabs with a free object (c->partial)  <->  page_alloc
//	                           interrupts on                            full slabs are on no list
//
// A CPU's list belongs to that CPU, under the discipline of mm/frame/stock.h: preemption off, and `busy` set meanwhile.
// An interrupt that finds `busy` goes to the slabs.
//
// An object's slab is found through its frame's descriptor: the head of its block is PAGE_SLAB, .private names the
// cache.
#include "mm/frame/slab.h"
#include "kernel/panic.h"
#include "kernel/spinlock.h"
#include "kernel/xcall.h"
#include "lab/inject.h"
#include "mm/frame/page.h"
#include "mm/frame/slab_check.h"

#define SLAB_CACHES 64
#define SLAB_MAX_ORDER 3
#define SLAB_MAX_SIZE ((PAGE_SIZE << SLAB_MAX_ORDER) / 2)

struct slab_cache {
	struct spinlock lock;	// `partial` and what follows it, and each slab's free list
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
	u32 busy;
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

// Lock held: take an object out of a slab. NULL: no slab has any.
static void *take_one(struct slab_cache *c)
{
	struct page *slab;
	void *obj;

	if (list_empty(&c->partial))
		return NULL;
	slab = list_first(&c->partial, struct page, link);
	obj = slab->slab.free;
	slab->slab.free = *link_of(c, obj);
	if (!slab->slab.in_use++)
		c->empty--;
	if (!slab->slab.free)
		list_remove(&slab->link);
	WRITE_ONCE(c->out, c->out + 1);
	return obj;
}

// Lock held: put an object back into its slab; slabs that are no longer wanted go to `spare`.
static void give_one(struct slab_cache *c, void *obj, struct list *spare)
{
	struct page *slab = page_head(virt_to_page(obj));

	WRITE_ONCE(c->out, c->out - 1);
	if (!slab->slab.free)
		list_push_front(&c->partial, &slab->link);
	*link_of(c, obj) = slab->slab.free;
	slab->slab.free = obj;
	if (--slab->slab.in_use)
		return;
	list_remove(&slab->link);
	if (c->empty) {			// one empty slab is kept
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

// ---- This CPU's list ------------------------------------------------------------------------------------------------

// NULL: an interrupt has come in the middle of a change.
static __always_inline struct slab_cpu *enter(struct slab_cache *c)
{
	struct slab_cpu *list;

	preempt_disable();
	list = this_list(c);
	if (unlikely(READ_ONCE(list->busy))) {
		preempt_enable();
		return NULL;
	}
	WRITE_ONCE(list->busy, 1);
	barrier();	// an interrupt finds either all of a change or `busy`
	return list;
}

static __always_inline void leave(struct slab_cpu *list)
{
	barrier();	// as in enter()
	WRITE_ONCE(list->busy, 0);
	preempt_enable();
}

static __always_inline void push(struct slab_cache *c, struct slab_cpu *list, void *obj)
{
	*link_of(c, obj) = list->free;
	list->free = obj;
	WRITE_ONCE(list->count, list->count + 1);
}

static __always_inline void *pop(struct slab_cache *c, struct slab_cpu *list)
{
	void *obj = list->free;

	list->free = *link_of(c, obj);
	WRITE_ONCE(list->count, list->count - 1);
	return obj;
}

static __noinline void refill(struct slab_cache *c, struct slab_cpu *list)
{
	irqflags_t flags = spin_lock_irqsave(&c->lock);
	void *obj;

	for (u32 n = c->limit / 2; n && (obj = take_one(c)); n--)
		push(c, list, obj);
	spin_unlock_irqrestore(&c->lock, flags);
}

static __noinline void give_back(struct slab_cache *c, struct slab_cpu *list, u32 n)
{
	struct list spare;
	irqflags_t flags;

	list_init(&spare);
	flags = spin_lock_irqsave(&c->lock);
	while (n--)
		give_one(c, pop(c, list), &spare);
	spin_unlock_irqrestore(&c->lock, flags);
	put_slabs(&spare);
}

static __noinline void *take_from_slabs(struct slab_cache *c)
{
	irqflags_t flags = spin_lock_irqsave(&c->lock);
	void *obj = take_one(c);

	spin_unlock_irqrestore(&c->lock, flags);
	return obj;
}

static __noinline void give_to_slabs(struct slab_cache *c, void *obj)
{
	struct list spare;
	irqflags_t flags;

	list_init(&spare);
	flags = spin_lock_irqsave(&c->lock);
	give_one(c, obj, &spare);
	spin_unlock_irqrestore(&c->lock, flags);
	put_slabs(&spare);
}

static __always_inline void *take_object(struct slab_cache *c)
{
	struct slab_cpu *list = enter(c);
	void *obj;

	if (unlikely(!list))
		return take_from_slabs(c);
	if (unlikely(!list->free))
		refill(c, list);
	obj = list->free ? pop(c, list) : NULL;
	leave(list);
	return obj;
}

void *__hot slab_alloc(struct slab_cache *c)
{
	void *obj;

	ASSERT(!in_nmi());
	if (inject_should_fail())
		return NULL;
	do {	// another CPU may empty the new slab first
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

void __hot slab_free(struct slab_cache *c, void *obj)
{
	struct slab_cpu *list;

	ASSERT(!in_nmi());
	if (CHECK && !belongs(c, obj)) {
		alloc_error("freed object is not of this cache", obj);
		return;
	}
	if (!slab_check_free(obj, c->size))
		return;
	list = enter(c);
	if (unlikely(!list)) {
		give_to_slabs(c, obj);
		return;
	}
	push(c, list, obj);
	if (unlikely(list->count > c->limit))
		give_back(c, list, c->limit / 2);
	leave(list);
}

u64 slab_in_use(struct slab_cache *c)
{
	u64 n = READ_ONCE(c->out);

	for_each_cpu(cpu)
		n -= READ_ONCE((*per_cpu_ptr(&slab_cpus, cpu))[c->id].count);
	return n;
}

static void shrink_interrupt(void *again)
{
	for_each_cache(c) {
		struct slab_cpu *list = this_list(c);

		if (READ_ONCE(list->busy))
			fetch_add((u32 *)again, 1);
		else
			give_back(c, list, list->count);
	}
}

void slab_shrink(void)
{
	struct cpumask all;
	u32 again;

	ASSERT_MAY_SLEEP();
	do {
		WRITE_ONCE(again, 0);
		cpumask_copy(&all, &cpus_online);
		xcall_mask(&all, shrink_interrupt, &again);
	} while (READ_ONCE(again));
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
