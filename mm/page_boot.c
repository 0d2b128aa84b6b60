// SPDX-License-Identifier: MIT
// Memory at boot: ranges of RAM, carved from below by boot_alloc(); page_init() builds the descriptors and gives the
// rest to the buddy allocator. All on the boot CPU, before any other starts.
//
// From below, because the first GiB is full of holes anyway: the higher ones stay whole and can be mapped as one page
// each.
#include "mm/buddy.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/panic.h"
#include <arch/machine.h>

#define MAX_RANGES 256

struct page *page_map;
u64 page_map_frames;
static u64 total_frames;

static struct range {
	paddr_t start, end;	// whole frames at first; `start` then moves up
} ranges[MAX_RANGES];		// ascending
static unsigned nr_ranges, lost_ranges;
static bool collected;

static void collect(paddr_t start, paddr_t end)
{
	struct range *last = nr_ranges ? &ranges[nr_ranges - 1] : NULL;

	start = ALIGN_UP(MAX(start, PAGE_SIZE), PAGE_SIZE);	// frame 0 is never used: 0 stands for "none" here and there
	end = ALIGN_DOWN(end, PAGE_SIZE);
	if (last && start < last->end)
		start = last->end;
	if (start >= end)
		return;
	if (last && start == last->end)
		last->end = end;
	else if (nr_ranges < MAX_RANGES)
		ranges[nr_ranges++] = (struct range){ start, end };
	else
		lost_ranges++;
}

static void *carve(u64 bytes, u64 align)
{
	if (!collected) {
		collected = true;
		arch_for_each_ram(collect);
	}
	for (struct range *r = ranges; r < ranges + nr_ranges; r++) {
		paddr_t start = ALIGN_UP(r->start, align);

		if (start < r->start || start > r->end || r->end - start < bytes)
			continue;
		r->start = start + bytes;
		return phys_to_virt(start);
	}
	return NULL;
}

void *boot_alloc(size_t bytes, size_t align)
{
	void *p;

	BUG_ON(page_map);	// too late: all memory has gone to page_alloc()
	p = carve(bytes, MAX(align, sizeof(u64)));
	return p ? memset(p, 0, bytes) : NULL;
}

// 64 bytes for each frame from 0 to the end of the highest range. A broken memory map may name a little memory at an
// absurd address: what cannot be described within the memory that there is must do without.
static void place_map(void)
{
	while (nr_ranges) {
		struct range *last = &ranges[nr_ranges - 1];

		page_map_frames = last->end >> PAGE_SHIFT;
		page_map = carve(page_map_frames * sizeof(struct page), PAGE_SIZE);
		if (page_map)
			return;
		log_warn("memory: 0x%llx … 0x%llx left out: no room for its descriptors",
			 (unsigned long long)last->start, (unsigned long long)last->end);
		nr_ranges--;
	}
	panic("memory: no usable RAM");
}

// Nobody else runs: the only place where counts are plainly stored.
static void describe(u64 first, u64 end, enum page_kind kind)
{
	struct page p = { .refs = kind == PAGE_RESERVED, .kind = kind, .order = kind == PAGE_FREE ? ORDER_INSIDE : 0 };

	for (u64 i = first; i < end; i++)
		page_map[i] = p;
}

static void give_range(u64 first, u64 end)
{
	while (first < end) {
		unsigned order = MIN((unsigned)__builtin_ctzll(first), (unsigned)MAX_ORDER);

		while (first + (1ull << order) > end)
			order--;
		buddy_free(&page_map[first], order);
		first += 1ull << order;
	}
}

void page_init(void)
{
	u64 described = 0;

	carve(0, 1);		// collects the ranges, if nobody has asked before
	if (lost_ranges)
		log_warn("memory: in pieces: %u ranges beyond the first %d are left out", lost_ranges, MAX_RANGES);
	place_map();
	for (unsigned i = 0; i < nr_ranges; i++) {
		u64 first = ALIGN_UP(ranges[i].start, PAGE_SIZE) >> PAGE_SHIFT, end = ranges[i].end >> PAGE_SHIFT;

		describe(described, first, PAGE_RESERVED);
		describe(first, end, PAGE_FREE);
		described = end;
		total_frames += end - first;
	}
	for (unsigned i = 0; i < nr_ranges; i++)
		give_range(ALIGN_UP(ranges[i].start, PAGE_SIZE) >> PAGE_SHIFT, ranges[i].end >> PAGE_SHIFT);
}

u64 page_total_count(void) { return total_frames; }
