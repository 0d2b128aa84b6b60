// SPDX-License-Identifier: MIT
// Address spaces: creation, mapping, unmapping, protection, demand faults, exit. Each change of the tree is one
// gather under the space's mutex.
#include "mm/space_internal.h"
#include "kernel/errno.h"
#include "kernel/panic.h"
#include "kernel/thread.h"
#include "lab/counter.h"
#include "lab/mutant.h"
#include "lab/stall.h"
#include "lab/trace.h"
#include "mm/flush/flush.h"
#include "mm/frame/slab.h"
#include "mm/gather.h"
#include "mm/huge.h"
#include "mm/object.h"
#include "mm/pending.h"
#include "mm/region.h"
#include "mm/table.h"
#include "mm/tlb.h"
#include "mm/tree.h"
#include <arch/tlb.h>

static struct slab_cache *spaces;

void space_init(void)
{
	spaces = slab_create("space", sizeof(struct space), CACHE_LINE);
	BUG_ON(!spaces);
	region_init();
	pending_init();
	flush_init();
}

u64 space_count(void) { return slab_in_use(spaces); }

// All spaces. A new one takes the default pair and its place in the list in one step, so that a system-wide switch
// either finds it in the list or has changed the default before.
static struct spinlock all_lock = SPINLOCK_INIT("spaces", RANK_SPACE_LIST);
static struct list all_spaces = LIST_INIT(all_spaces);

static void list_space(struct space *s, const struct table_policy *p, const struct flush_backend *b)
{
	preempt_disable();
	spin_lock(&all_lock);
	s->freer = p ? p : policy_default();
	space_select(s, s->freer);
	s->backend = b ? b : flush_default();
	list_push_back(&all_spaces, &s->all_link);
	spin_unlock(&all_lock);
	preempt_enable();
}

static void unlist_space(struct space *s)
{
	preempt_disable();
	spin_lock(&all_lock);
	list_remove(&s->all_link);
	spin_unlock(&all_lock);
	preempt_enable();
}

static bool space_try_get(struct space *s)
{
	u64 users;

	do {
		users = READ_ONCE(s->users);
		if (!users)
			return false;	// it is being destroyed: never 0 -> 1
	} while (!cmpxchg(&s->users, users, users + 1));
	return true;
}

void space_set_default(const struct table_policy *p, const struct flush_backend *b)
{
	preempt_disable();
	spin_lock(&all_lock);
	policy_set_default(p);
	flush_set_default(b);
	spin_unlock(&all_lock);
	preempt_enable();
}

void space_take_all(struct list *taken, const struct table_policy *p, const struct flush_backend *b)
{
	preempt_disable();
	spin_lock(&all_lock);
	policy_set_default(p);
	flush_set_default(b);
	list_for_each(it, &all_spaces) {
		struct space *s = list_entry(it, struct space, all_link);

		if (space_try_get(s))
			list_push_back(taken, &s->switch_link);
	}
	spin_unlock(&all_lock);
	preempt_enable();
}

struct space *space_create_with(const struct table_policy *p, const struct flush_backend *b)
{
	struct space *s = slab_alloc(spaces);
	struct page *root;

	if (!s)
		return NULL;
	root = table_alloc(PT_LEVELS);
	if (!root) {
		slab_free(spaces, s);
		return NULL;
	}
	*s = (struct space){ .root = page_to_virt(root), .root_pa = page_to_phys(root), .users = 1 };
	arch_root_init(s->root);
	mutex_init(&s->lock, "space");
	list_init(&s->regions);
	list_init(&s->aside);
	list_space(s, p, b);
	return s;
}

struct space *space_create(void) { return space_create_with(NULL, NULL); }

void space_get(struct space *s)
{
	u64 old __unused = fetch_add(&s->users, 1);

	ASSERT(old > 0);
}

// No user is left: no thread runs here and no walker walks. Lazy CPUs may still hold the root; when they have left,
// their TLBs hold nothing of it, and the root itself is freed as every table is.
static void space_destroy(struct space *s)
{
	struct page *root = page_of(s->root_pa);
	struct gather g;

	STALL(space_ending, s, 0, 0);	// no user is left; the list of all spaces still has it
	unlist_space(s);
	mutex_lock(&s->lock);
	gather_begin(&g, s);
	g.may_defer = true;
	tree_end(&g);
	gather_flush(&g);
	region_remove_range(s, 0, USER_END);
	ASSERT(root->private == 0 && s->mapped == 0);
	if (!MUTANT(space_evicts_last))	// CPUs may have the root loaded when it is FREE (Genode)
		tlb_evict(s);
	gather_reserve(&g);
	gather_table(&g, root, 0);
	gather_end(&g);
	if (MUTANT(space_evicts_last))
		tlb_evict(s);
	if (s->freer->leave)
		s->freer->leave(s);
	mutex_unlock(&s->lock);
	if (!MUTANT(space_freed_early))	// freed while a record of a deferred flush names it (as in Uros)
		flush_wait(s);
	slab_free(spaces, s);
}

void space_put(struct space *s)
{
	if (fetch_sub(&s->users, 1) == 1)
		space_destroy(s);
}

// Change the space that the current thread runs in; the CPU's state follows, as if the thread had just been switched
// to.
static void set_current_space(struct space *s)
{
	irqflags_t flags = irq_save();

	current->space = s;
	tlb_follow(current);
	irq_restore(flags);
}

void space_attach(struct space *s)
{
	ASSERT(!current->space);
	space_get(s);
	set_current_space(s);
}

void space_detach(void)
{
	struct space *s = current->space;

	ASSERT(s);
	set_current_space(NULL);
	space_put(s);
}

bool space_range_ok(vaddr_t va, u64 len, u64 unit)
{
	return len && !((va | len) & (unit - 1)) && va < USER_END && len <= USER_END - va;
}

// A page of the region's object, with a reference for the leaf.
static __noinline int object_frame(const struct region *r, vaddr_t va, struct page **frame)
{
	int err = object_page(r->object, (r->offset + (va - r->start)) >> PAGE_SHIFT, frame);

	if (err)
		return err;
	return page_try_get(*frame) ? 0 : -ENOMEM;
}

static __always_inline int frame_for(const struct region *r, vaddr_t va, struct page **frame)
{
	if (unlikely(r->object))
		return object_frame(r, va, frame);
	*frame = page_alloc((unsigned)(r->level - 1) * PT_BITS, PAGE_ANON, PG_ZERO);
	if (!*frame)
		return -ENOMEM;
	(*frame)->private = 0;
	return 0;
}

// Back the page at va by a zeroed frame, or by its object's. Lock held; no CPU can reach what was mapped there before
// (flush_settle).
static __always_inline int populate_one(struct space *s, const struct region *r, vaddr_t va)
{
	struct page *table, *frame;
	pte_t *e;
	int err;

	e = tree_make(s, va, r->level, &table);
	if (!e)
		return -ENOMEM;
	if (pte_present(pte_read(e)))	// this page, or a collapsed one around it
		return 0;
	err = frame_for(r, va, &frame);
	if (err)
		return err;
	pte_xchg(e, pte_make_leaf(page_to_phys(frame), r->level, r->prot));	// full barrier: zeroed before it is seen
	table->private++;
	s->mapped += level_size(r->level) >> PAGE_SHIFT;
	return 0;
}

// Drop every leaf of the range, and the tables that this empties. Lock held.
static __always_inline void unmap_locked(struct space *s, vaddr_t start, vaddr_t end, bool may_defer)
{
	struct gather g;

	gather_begin(&g, s);
	g.may_defer = may_defer;
	tree_unmap(&g, start, end);
	gather_end(&g);
}

static int populate(struct space *s, const struct region *r)
{
	for (vaddr_t va = r->start; va < r->end; va += level_size(r->level)) {
		int err = populate_one(s, r, va);

		if (err)
			return err;
	}
	return 0;
}

int __hot space_map(struct space *s, vaddr_t va, u64 len, unsigned prot, int level, unsigned flags)
{
	int err;

	if (level < 1 || level > MMU_NR_PAGE_SIZES || !arch_has_page_size(level) || !space_range_ok(va, len, level_size(level)))
		return -EINVAL;
	mutex_lock(&s->lock);
	flush_settle(s, va, va + len);	// even if nothing is populated: no access may find the old page
	err = region_add(s, va, va + len, prot, level);
	if (!err && (flags & MAP_POPULATE)) {
		err = populate(s, region_find(s, va));
		if (err) {		// half built: walkers may be in the new tables already, so undo by the full path
			unmap_locked(s, va, va + len, false);
			region_remove_range(s, va, va + len);
		}
	}
	if (!err && region_meets_another(s, region_first_from(s, va)))
		region_merge_range(s, va, va + len);
	mutex_unlock(&s->lock);
	return err;
}

// Every page, also a collapsed one, lies in one region: where no region is cut, no page is.
int space_cut(struct space *s, vaddr_t start, vaddr_t end)
{
	int err;

	if (likely(!region_is_cut(s, start) && !region_is_cut(s, end)))
		return 0;
	err = region_split_at(s, start, end);
	if (err)
		return err;
	err = huge_cut(s, start, end);
	if (err)
		region_merge_range(s, start, end);
	return err;
}

static __always_inline int remove_regions(struct space *s, vaddr_t start, vaddr_t end)
{
	int err;

	if (likely(region_remove_whole(s, start, end)))
		return 0;
	err = space_cut(s, start, end);
	if (!err)
		region_remove_range(s, start, end);
	return err;
}

static __always_inline int unmap(struct space *s, vaddr_t va, u64 len, bool sync)
{
	int err;

	if (!space_range_ok(va, len, PAGE_SIZE))
		return -EINVAL;
	trace(EV_UNMAP_BEGIN, va);
	mutex_lock(&s->lock);
	err = remove_regions(s, va, va + len);
	if (!err) {
		unmap_locked(s, va, va + len, !sync);
		if (sync)
			flush_settle(s, va, va + len);	// what others have unmapped there, and this unmap did not find
	}
	mutex_unlock(&s->lock);
	trace(EV_UNMAP_END, 0);
	return err;
}

int space_clear_locked(struct space *s, vaddr_t va, u64 len)
{
	int err = remove_regions(s, va, va + len);

	if (err)
		return err;
	unmap_locked(s, va, va + len, false);
	flush_settle(s, va, va + len);
	return 0;
}

int __hot space_unmap(struct space *s, vaddr_t va, u64 len) { return unmap(s, va, len, false); }
int space_unmap_sync(struct space *s, vaddr_t va, u64 len) { return unmap(s, va, len, true); }

static void protect_locked(struct space *s, vaddr_t start, vaddr_t end, unsigned prot)
{
	struct gather g;

	for (vaddr_t va = start; va < end;) {
		struct region *r = region_find(s, va);

		r->prot = (u8)prot;
		va = r->end;
	}
	gather_begin(&g, s);
	tree_protect(&g, start, end, prot);
	gather_end(&g);
}

int space_protect(struct space *s, vaddr_t va, u64 len, unsigned prot)
{
	vaddr_t end;
	int err;

	if (!space_range_ok(va, len, PAGE_SIZE))
		return -EINVAL;
	mutex_lock(&s->lock);
	end = region_covered_until(s, va, va + len);
	err = end == va ? -ENOENT : space_cut(s, va, end);
	if (!err) {
		protect_locked(s, va, end, prot);
		region_merge_range(s, va, end);
		if (unlikely(end != va + len))
			err = -ENOENT;
	}
	mutex_unlock(&s->lock);
	return err;
}

static __always_inline int fault_in(struct space *s, const struct region *r, vaddr_t va)
{
	int err;

	va = ALIGN_DOWN(va, level_size(r->level));
	// A neighbour's table that still waits for its flush may have covered this address.
	flush_settle(s, va, va + level_size(r->level));
	err = populate_one(s, r, va);
	if (err)		// frees tables that were made on the way and stay empty
		unmap_locked(s, va, va + level_size(r->level), false);
	else
		count(faults);
	return err;
}

// Like a new mapping: no access may find an old page in what the region takes in.
static __noinline struct region *grow_down(struct space *s, vaddr_t va)
{
	struct region *r = region_first_from(s, va);
	vaddr_t old_start = r ? r->start : 0;

	r = region_grow_down(s, va);
	if (r)
		flush_settle(s, r->start, old_start);
	return r;
}

static __always_inline int fault(struct space *s, vaddr_t va, unsigned need)
{
	struct region *r;
	int err;

	mutex_lock(&s->lock);
	r = region_find(s, va);
	if (unlikely(!r))
		r = grow_down(s, va);
	if (!r)
		err = -EFAULT;
	else if ((r->prot & need) != need)
		err = -EACCES;
	else
		err = fault_in(s, r, va);
	mutex_unlock(&s->lock);
	STALL(fault_served, s, va, 0);	// the lock has been dropped; the access has not yet been tried again
	return err;
}

int space_fault_access(struct space *s, vaddr_t va, unsigned access)
{
	return va < USER_END ? fault(s, va, access | PROT_R) : -EFAULT;
}

int __hot space_fault(struct space *s, vaddr_t va, bool write)
{
	int err = fault(s, va, PROT_R | (write ? PROT_W : 0));

	return likely(!err) || err == -ENOMEM ? err : -EFAULT;
}

int space_fault_current(vaddr_t va, bool write)
{
	struct space *s = current->space;

	if (!s || va >= USER_END)
		return -EFAULT;
	return space_fault(s, va, write);
}
