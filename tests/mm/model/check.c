// SPDX-License-Identifier: MIT
// A space against its model. The tables are read entry by entry, without the code by which mm/ walks them.
#include "tests/mm/model/check.h"
#include "kernel/errno.h"
#include "kernel/lib.h"
#include "lab/test.h"
#include "mm/walk.h"
#include <arch/uaccess.h>

struct look {
	struct space *s;
	const struct model *m;
	bool walkers;
	u64 present;		// pages found
};

static u64 *word_of(const struct page *page, unsigned i)
{
	return (u64 *)page_to_virt(page) + (i ? PAGE_SIZE / sizeof(u64) - 1 : 0);
}

static void check_words(const struct page *page, const u64 *words)
{
	EXPECT_EQ(READ_ONCE(*word_of(page, 0)), words[0]);
	EXPECT_EQ(READ_ONCE(*word_of(page, 1)), words[1]);
}

// One reference for the mapping, and one for each pin.
static void check_refs(const struct look *l, struct page *head, unsigned index, int level)
{
	unsigned pins = level == 2 ? model_slot_pins(l->m, index / PT_ENTRIES) : 0;

	for (unsigned i = 0; level == 1 && i < MODEL_PINS; i++)
		pins += l->m->pin[i].page && l->m->pin[i].index == (int)index;
	EXPECT_EQ(READ_ONCE(head->refs), 1 + pins);
	EXPECT(READ_ONCE(head->kind) == PAGE_ANON && head->order == (level - 1) * PT_BITS);
}

static void check_leaf(struct look *l, pte_t v, int level, vaddr_t va)
{
	struct page *head = page_of(pte_addr(v));
	int index = model_index(va);

	if (!EXPECT(index >= 0 && level == model_leaf_level(l->m, (unsigned)index)))
		return;
	EXPECT_EQ(pte_permits(v, false), model_permits(l->m, va, false));
	EXPECT_EQ(pte_permits(v, true), model_permits(l->m, va, true));
	if (!l->walkers)
		check_refs(l, head, (unsigned)index, level);
	for (unsigned i = 0; i < level_size(level) >> PAGE_SHIFT; i++)
		check_words(head + i, l->m->page[index + (int)i].word);
	l->present += level_size(level) >> PAGE_SHIFT;
}

// Count the entries, and check that the table's own count agrees.
static void check_table(struct look *l, const struct page *table, int level, vaddr_t va)
{
	const pte_t *e = page_to_virt(table);
	unsigned n = 0;

	EXPECT(table->kind == PAGE_TABLE && table->table_state == TABLE_LIVE && table->table_level == level);
	for (unsigned i = 0; i < (level == PT_LEVELS ? USER_ROOT_ENTRIES : PT_ENTRIES); i++, va += level_size(level)) {
		pte_t v = pte_read(&e[i]);

		n += v != 0;
		if (!pte_present(v))
			EXPECT_EQ(v, 0);
		else if (level < PT_LEVELS && pte_leaf(v, level))
			check_leaf(l, v, level, va);
		else
			check_table(l, page_of(pte_addr(v)), level - 1, va);
	}
	EXPECT_EQ(table->private, n);
	EXPECT(n || level == PT_LEVELS || l->s->freer->keeps);	// an empty table is not kept
}

static void check_regions(struct space *s, const struct model *m)
{
	unsigned i = 0;

	list_for_each(it, &s->regions) {
		const struct region *r = list_entry(it, struct region, link);

		if (!EXPECT(i < m->nr_mappings))
			return;
		EXPECT(r->start == m->list[i].start && r->end == m->list[i].end);
		EXPECT(r->prot == m->list[i].prot && r->level == m->list[i].level && r->flags == m->list[i].flags);
		i++;
	}
	EXPECT_EQ(i, m->nr_mappings);
}

void space_check(struct space *s, const struct model *m, bool walkers)
{
	struct look l = { .s = s, .m = m, .walkers = walkers };

	mutex_lock(&s->lock);
	check_regions(s, m);
	check_table(&l, page_of(s->root_pa), PT_LEVELS, 0);
	EXPECT_EQ(l.present, m->present);
	EXPECT_EQ(s->mapped, m->present);
	mutex_unlock(&s->lock);
}

void space_check_page(struct space *s, const struct model *m, vaddr_t va)
{
	int index = model_index(va);
	bool present = index >= 0 && m->page[index].present;
	u64 v;

	for (int write = 0; write <= 1; write++) {
		bool want = present && model_permits(m, va, write);
		struct page *page;

		if (EXPECT_EQ(walk_pin_fast(s, va, 1, write, &page), want) && want) {
			check_words(page, m->page[index].word);
			page_unpin(page, false);
		}
	}
	va = ALIGN_DOWN(va, PAGE_SIZE);
	for (unsigned i = 0; i < 2; i++) {
		int want = present && model_permits(m, va, false) ? 0 : -EFAULT;

		if (EXPECT_EQ(arch_user_read64_nofault(va + (i ? PAGE_SIZE - sizeof(u64) : 0), &v), want) && !want)
			EXPECT_EQ(v, m->page[index].word[i]);
	}
}

void space_check_pin(const struct model *m, unsigned pin)
{
	const struct model_pin *p = &m->pin[pin];

	check_words(p->page, p->index >= 0 ? m->page[p->index].word : p->word);
	EXPECT_EQ(READ_ONCE(page_head(p->page)->kind), PAGE_ANON);
}
