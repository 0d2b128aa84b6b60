// SPDX-License-Identifier: MIT
// The loader's memory map, which may be unsorted, overlapping and unaligned, becomes sorted disjoint ranges of whole
// frames. Functions of their arguments only.
#include "arch/x86_64/ram_map_parse.h"
#include "arch/x86_64/bootinfo.h"
#include "kernel/lib.h"
#include <arch/pte.h>

static bool insert_at(struct ram_map *m, unsigned at, paddr_t start, paddr_t end)
{
	if (m->n == ARRAY_SIZE(m->r))
		return false;
	memmove(&m->r[at + 1], &m->r[at], (m->n - at) * sizeof(m->r[0]));
	m->r[at] = (struct memory_range){ start, end, true };
	m->n++;
	return true;
}

static void delete_at(struct ram_map *m, unsigned at)
{
	memmove(&m->r[at], &m->r[at + 1], (m->n - at - 1) * sizeof(m->r[0]));
	m->n--;
}

// Swallow every range that [start, end) overlaps or touches, then insert the union in its place.
bool ram_map_add(struct ram_map *m, paddr_t start, paddr_t end)
{
	unsigned at = 0;

	while (at < m->n && m->r[at].end < start)
		at++;
	while (at < m->n && m->r[at].start <= end) {
		start = MIN(start, m->r[at].start);
		end = MAX(end, m->r[at].end);
		delete_at(m, at);
	}
	return insert_at(m, at, start, end);
}

bool ram_map_remove(struct ram_map *m, paddr_t start, paddr_t end)
{
	if (start >= end)
		return true;
	for (unsigned i = 0; i < m->n; i++) {
		struct memory_range *r = &m->r[i];
		paddr_t old_end = r->end;

		if (r->end <= start || r->start >= end)
			continue;
		if (r->start < start) {
			r->end = start;
			if (old_end > end && !insert_at(m, i + 1, end, old_end))
				return false;
		} else if (r->end > end) {
			r->start = end;
		} else {
			delete_at(m, i--);
		}
	}
	return true;
}

// Where usable and unusable entries overlap, unusable wins. Usable ends are rounded inwards, unusable ones outwards.
bool ram_map_build(struct ram_map *m, const struct memory_range *in, unsigned n, paddr_t limit)
{
	m->n = 0;
	for (unsigned i = 0; i < n; i++) {
		paddr_t start = MIN(in[i].start, limit), end = MIN(in[i].end, limit);

		start = ALIGN_UP(start, PAGE_SIZE);
		end = ALIGN_DOWN(end, PAGE_SIZE);
		if (in[i].usable && start < end && !ram_map_add(m, start, end))
			return false;
	}
	for (unsigned i = 0; i < n; i++) {
		paddr_t end = MIN(in[i].end, limit);

		if (!in[i].usable && in[i].start < in[i].end &&
		    !ram_map_remove(m, ALIGN_DOWN(in[i].start, PAGE_SIZE), ALIGN_UP(end, PAGE_SIZE)))
			return false;
	}
	return m->n > 0;
}

bool ram_map_covers(const struct ram_map *m, paddr_t start, paddr_t end)
{
	for (unsigned i = 0; i < m->n; i++)
		if (m->r[i].start <= start && m->r[i].end >= end)
			return true;
	return false;
}

// Some firmware writes into the first 64 KiB while the system runs, so these are used last, and page 0 not at all.
paddr_t ram_map_real_mode_page(const struct ram_map *m)
{
	static const struct { paddr_t start, end; } parts[] = { { 64 << 10, 640 << 10 }, { PAGE_SIZE, 64 << 10 } };

	for (unsigned part = 0; part < ARRAY_SIZE(parts); part++) {
		for (unsigned i = 0; i < m->n; i++) {
			paddr_t page = MAX(m->r[i].start, parts[part].start);

			if (page < MIN(m->r[i].end, parts[part].end))
				return page;
		}
	}
	return 0;
}

u64 ram_map_beyond(const struct memory_range *in, unsigned n, paddr_t limit)
{
	u64 sum = 0;

	for (unsigned i = 0; i < n; i++)
		if (in[i].usable && in[i].end > limit)
			sum += in[i].end - MAX(in[i].start, limit);
	return sum;
}

const char *ram_map_mmio_error(const struct ram_map *m, paddr_t pa, u64 len, paddr_t limit)
{
	if (!len || len > limit || pa > limit - len)
		return "is no physical address";
	for (unsigned i = 0; i < m->n; i++)
		if (pa < m->r[i].end && pa + len > m->r[i].start)
			return "lies in RAM";
	return NULL;
}
