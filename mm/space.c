// SPDX-License-Identifier: MIT
// Address spaces: creation, mapping, unmapping, protection, demand faults, exit. Each change of the tree is one
// gather under the space's mutex.
#include "mm/space.h"
#include "kernel/counter.h"
#include "kernel/errno.h"
#include "kernel/panic.h"
#include "kernel/thread.h"
#include "mm/gather.h"
#include "mm/region.h"
#include "mm/slab.h"
#include "mm/table.h"
#include "mm/tlb.h"

static struct slab_cache *spaces;

void space_init(void)
{
	spaces = slab_create("space", sizeof(struct space), CACHE_LINE);
	BUG_ON(!spaces);
	region_init();
}

u64 space_count(void) { return slab_in_use(spaces); }

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
	*s = (struct space){ .root = page_to_virt(root), .root_pa = page_to_phys(root), .policy = p, .backend = b, .users = 1 };
	arch_root_init(s->root);
	mutex_init(&s->lock, "space");
	list_init(&s->regions);
	return s;
}

struct space *space_create(void) { return space_create_with(policy_default(), flush_default()); }

void space_get(struct space *s)
{
	u32 old __unused = fetch_add(&s->users, 1);

	ASSERT(old > 0);
}

// No user is left: no thread runs here and no walker walks. Lazy CPUs may still hold the root; when they have left,
// their TLBs hold nothing of it, and the root itself can go the way of every table.
static void space_destroy(struct space *s)
{
	struct page *root = page_of(s->root_pa);
	struct gather g;

	mutex_lock(&s->lock);
	gather_begin(&g, s);
	tree_unmap(&g, 0, USER_END);
	gather_flush(&g);
	region_remove_range(s, 0, USER_END);
	ASSERT(root->private == 0 && s->mapped == 0);
	tlb_evict(s);
	gather_table(&g, root, 0);
	gather_end(&g);
	mutex_unlock(&s->lock);
	slab_free(spaces, s);
}

void space_put(struct space *s)
{
	if (fetch_sub(&s->users, 1) == 1)
		space_destroy(s);
}

// Change what the current thread runs in; the CPU's state follows, as if it had been switched to anew.
static void set_current_space(struct space *s)
{
	irqflags_t flags = irq_save();

	current->space = s;
	space_switch(current, current);
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

static bool range_ok(vaddr_t va, u64 len, u64 unit)
{
	return len && !((va | len) & (unit - 1)) && va < USER_END && len <= USER_END - va;
}

// Back the page at va by a zeroed frame. Lock held.
static int populate_one(struct space *s, const struct region *r, vaddr_t va)
{
	struct page *table, *frame;
	pte_t *e = tree_make(s, va, r->level, &table);

	if (!e)
		return -ENOMEM;
	if (pte_present(pte_read(e)))
		return 0;
	frame = page_alloc((unsigned)(r->level - 1) * PT_BITS, PAGE_ANON, PG_ZERO);
	if (!frame)
		return -ENOMEM;
	frame->private = 0;
	pte_xchg(e, pte_make_leaf(page_to_phys(frame), r->level, r->prot));	// full barrier: zeroed before it is seen
	table->private++;
	s->mapped += level_size(r->level) >> PAGE_SHIFT;
	return 0;
}

// Drop every leaf of the range, and the tables that this empties. Lock held.
static void unmap_locked(struct space *s, vaddr_t start, vaddr_t end)
{
	struct gather g;

	gather_begin(&g, s);
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

int space_map(struct space *s, vaddr_t va, u64 len, unsigned prot, int level, unsigned flags)
{
	int err;

	if (level < 1 || level > MMU_NR_PAGE_SIZES || !arch_has_page_size(level) || !range_ok(va, len, level_size(level)))
		return -EINVAL;
	mutex_lock(&s->lock);
	err = region_add(s, va, va + len, prot, level);
	if (!err && (flags & MAP_POPULATE)) {
		err = populate(s, region_find(s, va));
		if (err) {		// half built: walkers may be in the new tables already, so undo by the full path
			unmap_locked(s, va, va + len);
			region_remove_range(s, va, va + len);
		}
	}
	if (!err)
		region_merge_range(s, va, va + len);
	mutex_unlock(&s->lock);
	return err;
}

int space_unmap(struct space *s, vaddr_t va, u64 len)
{
	int err;

	if (!range_ok(va, len, PAGE_SIZE))
		return -EINVAL;
	mutex_lock(&s->lock);
	err = region_split_at(s, va, va + len);
	if (!err) {
		region_remove_range(s, va, va + len);
		unmap_locked(s, va, va + len);
	}
	mutex_unlock(&s->lock);
	return err;
}

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
	int err;

	if (!range_ok(va, len, PAGE_SIZE))
		return -EINVAL;
	mutex_lock(&s->lock);
	if (!region_covers(s, va, va + len))
		err = -ENOENT;
	else
		err = region_split_at(s, va, va + len);
	if (!err) {
		protect_locked(s, va, va + len, prot);
		region_merge_range(s, va, va + len);
	}
	mutex_unlock(&s->lock);
	return err;
}

int space_fault(struct space *s, vaddr_t va, bool write)
{
	struct region *r;
	int err;

	mutex_lock(&s->lock);
	r = region_find(s, va);
	if (!r || !(r->prot & PROT_R) || (write && !(r->prot & PROT_W))) {
		err = -EFAULT;
	} else {
		va = ALIGN_DOWN(va, level_size(r->level));
		err = populate_one(s, r, va);
		if (err)		// tables that were made on the way and stay empty
			unmap_locked(s, va, va + level_size(r->level));
		else
			count(faults);
	}
	mutex_unlock(&s->lock);
	return err;
}

int space_fault_current(vaddr_t va, bool write)
{
	struct space *s = current->space;

	if (!s || va >= USER_END)
		return -EFAULT;
	return space_fault(s, va, write);
}
