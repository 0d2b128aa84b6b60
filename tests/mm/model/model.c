// SPDX-License-Identifier: MIT
// See model/model.h.
#include "tests/mm/model/model.h"
#include "kernel/errno.h"
#include "kernel/lib.h"
#include "kernel/panic.h"
#include "tests/mm/help.h"

// Within an L3 table, across a 1 GiB edge, across a 512 GiB edge, at the end of the user half and at its beginning.
static const struct site {
	vaddr_t start;
	unsigned slots;
} sites[] = {
	{ BASE, 4 },
	{ BASE + (1ull << 30) - SLOT_SIZE, 2 },
	{ BASE + (1ull << 39) - SLOT_SIZE, 2 },
	{ USER_END - 2 * SLOT_SIZE, 2 },
	{ 0, 2 },
};
_Static_assert(4 + 2 + 2 + 2 + 2 == MODEL_SLOTS, "the sites' slots");

vaddr_t model_slot_va(unsigned slot)
{
	const struct site *site = sites;

	while (slot >= site->slots)
		slot -= site++->slots;
	return site->start + slot * SLOT_SIZE;
}

unsigned model_slots_from(unsigned slot)
{
	const struct site *site = sites;

	while (slot >= site->slots)
		slot -= site++->slots;
	return site->slots - slot;
}

int model_index(vaddr_t va)
{
	unsigned first = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(sites); first += sites[i++].slots)
		if (va >= sites[i].start && va - sites[i].start < sites[i].slots * SLOT_SIZE)
			return (int)(first * PT_ENTRIES + (va - sites[i].start) / PAGE_SIZE);
	return -1;
}

vaddr_t model_va(unsigned index) { return model_slot_va(index / PT_ENTRIES) + index % PT_ENTRIES * PAGE_SIZE; }

void model_reset(struct model *m) { memset(m, 0, sizeof(*m)); }

// ---- The list -------------------------------------------------------------------------------------------------------

static unsigned first_from(const struct model *m, vaddr_t va)	// the first that ends beyond va
{
	unsigned i = 0;

	while (i < m->nr_mappings && m->list[i].end <= va)
		i++;
	return i;
}

const struct mapping *model_find(const struct model *m, vaddr_t va)
{
	unsigned i = first_from(m, va);

	return i < m->nr_mappings && m->list[i].start <= va ? &m->list[i] : NULL;
}

static void insert(struct model *m, unsigned at, struct mapping new)
{
	BUG_ON(m->nr_mappings == MODEL_MAPPINGS);
	memmove(&m->list[at + 1], &m->list[at], (m->nr_mappings++ - at) * sizeof(new));
	m->list[at] = new;
}

static void delete(struct model *m, unsigned at)
{
	memmove(&m->list[at], &m->list[at + 1], (--m->nr_mappings - at) * sizeof(m->list[0]));
}

static void split_list(struct model *m, vaddr_t va)
{
	unsigned i = first_from(m, va);
	struct mapping upper;

	if (i == m->nr_mappings || m->list[i].start >= va)
		return;
	upper = m->list[i];
	upper.start = m->list[i].end = va;
	insert(m, i + 1, upper);
}

static void join_list(struct model *m)
{
	for (unsigned i = 1; i < m->nr_mappings;) {
		struct mapping *a = &m->list[i - 1], *b = &m->list[i];

		if (a->end == b->start && a->prot == b->prot && a->level == b->level && a->flags == b->flags) {
			a->end = b->end;
			delete(m, i);
		} else {
			i++;
		}
	}
}

static vaddr_t covered_until(const struct model *m, vaddr_t start, vaddr_t end)
{
	while (start < end) {
		const struct mapping *r = model_find(m, start);

		if (!r)
			return start;
		start = r->end;
	}
	return end;
}

static bool occupied(const struct model *m, vaddr_t start, vaddr_t end)
{
	unsigned i = first_from(m, start);

	return i < m->nr_mappings && m->list[i].start < end;
}

static bool cuts_large_page(const struct model *m, vaddr_t va)
{
	const struct mapping *r = model_find(m, va);

	return r && va & (level_size(r->level) - 1);
}

static bool range_ok(vaddr_t va, u64 len, u64 unit)
{
	return len && va % unit == 0 && len % unit == 0 && va < USER_END && len <= USER_END - va;
}

// ---- The pages ------------------------------------------------------------------------------------------------------

bool model_permits(const struct model *m, vaddr_t va, bool write)
{
	const struct mapping *r = model_find(m, va);
	unsigned need = PROT_R | (write ? PROT_W : 0);

	return r && (r->prot & need) == need;
}

int model_leaf_level(const struct model *m, unsigned index)
{
	if (!m->page[index].present)
		return 0;
	return m->collapsed[index / PT_ENTRIES] ? 2 : model_find(m, model_va(index))->level;
}

unsigned model_slot_pins(const struct model *m, unsigned slot)
{
	unsigned n = 0;

	for (unsigned i = 0; i < MODEL_PINS; i++)
		n += m->pin[i].page && m->pin[i].index >= 0 && (unsigned)m->pin[i].index / PT_ENTRIES == slot;
	return n;
}

static void make_present(struct model *m, unsigned i)
{
	if (!m->page[i].present)
		m->page[i] = (struct model_page){ .present = true };
	else
		return;
	m->present++;
}

static void make_absent(struct model *m, unsigned i)
{
	struct model_page *p = &m->page[i];

	if (!p->present)
		return;
	for (unsigned k = 0; k < MODEL_PINS; k++)
		if (m->pin[k].page && m->pin[k].index == (int)i) {
			m->pin[k].index = -1;
			memcpy(m->pin[k].word, p->word, sizeof(p->word));
		}
	p->present = false;
	m->present--;
}

static void drop_pages(struct model *m, vaddr_t start, vaddr_t end)
{
	for (unsigned slot = 0; slot < MODEL_SLOTS; slot++) {
		vaddr_t lo = MAX(start, model_slot_va(slot)), hi = MIN(end, model_slot_va(slot) + SLOT_SIZE);

		for (vaddr_t va = lo; va < hi; va += PAGE_SIZE)
			make_absent(m, (unsigned)model_index(va));
		if (lo < hi)
			m->collapsed[slot] = false;	// all of it: an operation that cuts one splits it first
	}
}

int model_split(struct model *m, vaddr_t va)
{
	int i = va < USER_END ? model_index(va) : -1;

	if (va >= USER_END)
		return -EINVAL;
	if (i < 0 || model_leaf_level(m, (unsigned)i) != 2)
		return -ENOENT;
	if (!m->collapsed[i / PT_ENTRIES])
		return -EINVAL;
	if (model_slot_pins(m, (unsigned)i / PT_ENTRIES))
		return -EBUSY;
	m->collapsed[i / PT_ENTRIES] = false;
	return 0;
}

static int cut_collapsed(struct model *m, vaddr_t va)
{
	int err = va % SLOT_SIZE && va < USER_END ? model_split(m, va) : 0;

	return err == -ENOENT ? 0 : err;
}

// The error that a boundary at start and at end would cause.
static int cut(struct model *m, vaddr_t start, vaddr_t end)
{
	int err;

	if (cuts_large_page(m, start) || cuts_large_page(m, end))
		return -EINVAL;
	err = cut_collapsed(m, start);
	return err ? err : cut_collapsed(m, end);
}

// ---- The operations -------------------------------------------------------------------------------------------------

int model_map(struct model *m, vaddr_t va, u64 len, unsigned prot, int level, bool populate)
{
	if (!range_ok(va, len, level_size(level)) || !arch_has_page_size(level))
		return -EINVAL;
	if (occupied(m, va, va + len))
		return -EEXIST;
	insert(m, first_from(m, va), (struct mapping){ va, va + len, (u8)prot, (u8)level, 0 });
	for (vaddr_t at = va; populate && at < va + len; at += PAGE_SIZE)
		make_present(m, (unsigned)model_index(at));
	join_list(m);
	return 0;
}

int model_unmap(struct model *m, vaddr_t va, u64 len)
{
	int err = range_ok(va, len, PAGE_SIZE) ? cut(m, va, va + len) : -EINVAL;

	if (err)
		return err;
	split_list(m, va);
	split_list(m, va + len);
	while (occupied(m, va, va + len))
		delete(m, first_from(m, va));
	drop_pages(m, va, va + len);
	return 0;
}

int model_protect(struct model *m, vaddr_t va, u64 len, unsigned prot)
{
	vaddr_t end;
	int err;

	if (!range_ok(va, len, PAGE_SIZE))
		return -EINVAL;
	end = covered_until(m, va, va + len);
	if (end == va)
		return -ENOENT;
	err = cut(m, va, end);
	if (err)
		return err;
	split_list(m, va);
	split_list(m, end);
	for (unsigned i = first_from(m, va); i < m->nr_mappings && m->list[i].start < end; i++)
		m->list[i].prot = (u8)prot;
	join_list(m);
	return end == va + len ? 0 : -ENOENT;
}

int model_discard(struct model *m, vaddr_t va, u64 len)
{
	int err = range_ok(va, len, PAGE_SIZE) ? cut(m, va, va + len) : -EINVAL;

	if (!err)
		drop_pages(m, va, va + len);
	return err;
}

int model_fault(struct model *m, vaddr_t va, bool write)
{
	const struct mapping *r = model_find(m, va);

	if (!model_permits(m, va, write))
		return -EFAULT;
	if (r->level == 3)
		return -ENOMEM;		// the test's guest has no free 1 GiB
	va = ALIGN_DOWN(va, level_size(r->level));
	for (u64 at = 0; at < level_size(r->level); at += PAGE_SIZE)
		make_present(m, (unsigned)model_index(va + at));
	return 0;
}

static void move_page(struct model *m, unsigned from, unsigned to)
{
	for (unsigned k = 0; k < MODEL_PINS; k++)
		if (m->pin[k].page && m->pin[k].index == (int)from)
			m->pin[k].index = (int)to;
	m->page[to] = m->page[from];
	m->page[from] = (struct model_page){ 0 };
}

// Whole slots to whole slots; elsewhere no collapsed page is left.
static void move_pages(struct model *m, vaddr_t from, vaddr_t to, u64 len)
{
	for (u64 at = 0; at < len; at += PAGE_SIZE) {
		unsigned i = (unsigned)model_index(from + at), k = (unsigned)model_index(to + at);

		move_page(m, i, k);
		if (i % PT_ENTRIES || k % PT_ENTRIES || len - at < SLOT_SIZE)
			continue;
		m->collapsed[k / PT_ENTRIES] = m->collapsed[i / PT_ENTRIES];
		m->collapsed[i / PT_ENTRIES] = false;
	}
}

// Those that pages which move by themselves are part of. It ends at the first that cannot be split.
static int split_all(struct model *m, vaddr_t from, u64 len)
{
	int err = 0;

	for (vaddr_t va = ALIGN_UP(from, SLOT_SIZE); !err && va < from + len; va += SLOT_SIZE)
		if (m->collapsed[model_index(va) / PT_ENTRIES])
			err = model_split(m, va);
	return err;
}

int model_move(struct model *m, vaddr_t from, vaddr_t to, u64 len)
{
	int err;

	if (!range_ok(from, len, PAGE_SIZE) || !range_ok(to, len, PAGE_SIZE) || (from < to + len && to < from + len))
		return -EINVAL;
	if (covered_until(m, from, from + len) != from + len)
		return -ENOENT;
	if (occupied(m, to, to + len))
		return -EEXIST;
	for (unsigned i = first_from(m, from); i < m->nr_mappings && m->list[i].start < from + len; i++)
		if (m->list[i].level > 2 || (to - from) % level_size(m->list[i].level))
			return -EINVAL;
	err = cut(m, from, from + len);
	if (!err && (to - from) % SLOT_SIZE)
		err = split_all(m, from, len);
	if (err)
		return err;
	split_list(m, from);
	split_list(m, from + len);
	while (occupied(m, from, from + len)) {
		unsigned i = first_from(m, from);
		struct mapping r = m->list[i];

		delete(m, i);
		r.start += to - from;
		r.end += to - from;
		insert(m, first_from(m, r.start), r);
	}
	move_pages(m, from, to, len);
	join_list(m);
	return 0;
}

int model_collapse(struct model *m, vaddr_t va)
{
	const struct mapping *r = model_find(m, va);
	int i = model_index(va);

	if (!range_ok(va, SLOT_SIZE, SLOT_SIZE))
		return -EINVAL;
	if (!r || r->end < va + SLOT_SIZE)
		return -ENOENT;
	if (r->level != 1)
		return -EINVAL;
	if (m->collapsed[i / PT_ENTRIES])
		return -EEXIST;
	for (unsigned k = 0; k < PT_ENTRIES; k++)
		if (!m->page[i + (int)k].present)
			return -ENOENT;
	if (model_slot_pins(m, (unsigned)i / PT_ENTRIES))
		return -EBUSY;
	m->collapsed[i / PT_ENTRIES] = true;
	return 0;
}

int model_map_over(struct model *m, vaddr_t va, u64 len, unsigned prot, unsigned flags)
{
	int err = model_unmap(m, va, len);

	if (err)
		return err;
	insert(m, first_from(m, va), (struct mapping){ va, va + len, (u8)prot, 1, (u8)flags });
	join_list(m);
	return 0;
}

int model_set_flags(struct model *m, vaddr_t va, u64 len, unsigned set, unsigned clear)
{
	vaddr_t end;
	int err;

	if (!range_ok(va, len, PAGE_SIZE))
		return -EINVAL;
	end = covered_until(m, va, va + len);
	err = end == va ? -ENOENT : cut(m, va, end);
	if (err)
		return err;
	split_list(m, va);
	split_list(m, end);
	for (unsigned i = first_from(m, va); i < m->nr_mappings && m->list[i].start < end; i++)
		m->list[i].flags = (u8)((m->list[i].flags & ~clear) | set);
	join_list(m);
	return end == va + len ? 0 : -ENOENT;
}

int model_populate(struct model *m, vaddr_t va, u64 len, bool write)
{
	int err = 0;

	for (vaddr_t at = va; at < va + len && !err; at += PAGE_SIZE)
		err = model_fault(m, at, write);
	return err;
}

static void grow(struct model *m, vaddr_t start, vaddr_t end, struct mapping like)
{
	like.start = start;
	like.end = end;
	insert(m, first_from(m, start), like);
	join_list(m);
}

static int remap_in_place(struct model *m, vaddr_t from, u64 from_len, u64 to_len, vaddr_t high)
{
	const struct mapping *r = model_find(m, from);
	vaddr_t end = from + from_len;

	if (to_len <= from_len)
		return to_len < from_len ? model_unmap(m, from + to_len, from_len - to_len) : 0;
	if (r->end < end)
		return -EFAULT;
	if (r->end != end || to_len > high - from || occupied(m, end, from + to_len))
		return -ENOMEM;
	grow(m, end, from + to_len, *r);
	return 0;
}

int model_remap(struct model *m, vaddr_t from, u64 from_len, u64 to_len, bool fixed, vaddr_t to, vaddr_t high)
{
	u64 moved = MIN(from_len, to_len);
	const struct mapping *r = model_find(m, from);
	struct mapping like;
	int err;

	if (fixed && from < to + to_len && to < from + from_len)
		return -EINVAL;
	if (!r || r->level != 1)
		return -EFAULT;
	if (!fixed)
		return remap_in_place(m, from, from_len, to_len, high);
	err = model_unmap(m, to, to_len);
	if (!err && from_len > to_len)
		err = model_unmap(m, from + to_len, from_len - to_len);
	if (err)
		return err;
	like = *model_find(m, from);
	if (moved > like.end - from)
		return -EFAULT;
	err = model_move(m, from, to, moved);
	if (!err && to_len > moved)
		grow(m, to + moved, to + to_len, like);
	return err;
}
