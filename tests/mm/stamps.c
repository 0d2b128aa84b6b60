// SPDX-License-Identifier: MIT
// See mm/stamps.h.
#include "tests/mm/stamps.h"
#include "mm/tree.h"
#include "tests/mm/help.h"

static u64 stamp(u64 seed, unsigned i) { return seed << 32 | (i + 1); }

void stamp_pages(vaddr_t va, unsigned pages, u64 seed)
{
	for (unsigned i = 0; i < pages; i++) {
		arch_user_write64(va + i * PAGE_SIZE, stamp(seed, i));
		arch_user_write64(va + i * PAGE_SIZE + PAGE_SIZE - 8, ~stamp(seed, i));
	}
}

unsigned stamped_pages(vaddr_t va, unsigned pages, u64 seed)
{
	unsigned n = 0;

	for (unsigned i = 0; i < pages; i++)
		n += mm_reads(va + i * PAGE_SIZE, stamp(seed, i)) &&
		     mm_reads(va + i * PAGE_SIZE + PAGE_SIZE - 8, ~stamp(seed, i));
	return n;
}

unsigned zero_pages(vaddr_t va, unsigned pages)
{
	unsigned n = 0;

	for (unsigned i = 0; i < pages; i++)
		n += mm_reads(va + i * PAGE_SIZE, 0) && mm_reads(va + i * PAGE_SIZE + PAGE_SIZE - 8, 0);
	return n;
}

void under_each_pair(void (*scene)(const struct table_policy *p, const struct flush_backend *b))
{
	FOR_EACH_POLICY(p)
		scene(*p, flush_find("ipi"));
	FOR_EACH_BACKEND(b)
		if (!flush_missing(*b) && *b != flush_find("ipi"))
			scene(policy_find("rcu"), *b);
}

pte_t *leaf_at(struct space *s, vaddr_t va, int *level)
{
	pte_t *t = s->root;

	for (int l = PT_LEVELS; l >= 1; l--) {
		pte_t *e = &t[pt_index(va, l)], v = pte_read(e);

		if (!pte_present(v))
			return NULL;
		if (l < PT_LEVELS && pte_leaf(v, l)) {
			*level = l;
			return e;
		}
		t = phys_to_virt(pte_addr(v));
	}
	return NULL;
}

struct page *frame_at(struct space *s, vaddr_t va)
{
	struct page *page = NULL;
	pte_t *e;
	int level;

	mutex_lock(&s->lock);
	e = leaf_at(s, va, &level);
	if (e)
		page = page_of(pte_addr(pte_read(e)) + (va & (level_size(level) - 1)));
	mutex_unlock(&s->lock);
	return page;
}

int leaf_level(struct space *s, vaddr_t va)
{
	int level = 0;
	pte_t *e;

	mutex_lock(&s->lock);
	e = leaf_at(s, va, &level);
	mutex_unlock(&s->lock);
	return e ? level : 0;
}
