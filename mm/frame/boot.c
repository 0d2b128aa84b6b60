// SPDX-License-Identifier: MIT
// Memory at boot: page_init() collects the ranges of RAM, takes the descriptors' memory from them and gives the rest to
// the buddy allocator. All on the boot CPU, before any other starts.
//
//	physical space   |=RAM=|=RAM=|     |     |   …   |     | RAM=|
//	section             0     1     2     3             8191  8192
//	page_map         |#####|#####|     |     |   …   |     |#####|	#: 2 MiB of RAM behind it
//
// The descriptors' memory comes from below, because the first GiB is full of holes anyway: the higher ones stay whole and
// can be mapped as one page each.
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/panic.h"
#include "mm/frame/buddy.h"
#include <arch/machine.h>

#define MAX_RANGES 256
#define SECTION_DESCRIPTORS (sizeof(struct page) << SECTION_ORDER)

struct page *page_map;
u64 page_map_frames;
u64 *page_sections;
static u64 total_frames;

static struct range {
	paddr_t start, end;	// whole frames; may be empty
} ranges[2 * MAX_RANGES];	// ascending. The second half is for what carve() splits
static unsigned nr_ranges, lost_ranges;	// lost: beyond MAX_RANGES
static struct range poor;		// between these lies RAM that is left out for lack of descriptors
static u64 lost_bytes, poor_bytes;

static void collect(paddr_t start, paddr_t end)
{
	struct range *last = nr_ranges ? &ranges[nr_ranges - 1] : NULL;

	start = ALIGN_UP(MAX(start, PAGE_SIZE), PAGE_SIZE);	// frame 0 is never used: 0 means "none" in places
	end = ALIGN_DOWN(end, PAGE_SIZE);
	if (last && start < last->end)
		start = last->end;
	if (start >= end)
		return;
	if (last && start == last->end) {
		last->end = end;
	} else if (nr_ranges < MAX_RANGES) {
		ranges[nr_ranges++] = (struct range){ start, end };
	} else {
		lost_ranges++;
		lost_bytes += end - start;
	}
}

// Take the lowest block that fits; whole frames. What alignment skips becomes a range of its own. (It is too small for
// any other call of the same alignment, so that no range is split twice.)
static void *carve(u64 bytes, u64 align)
{
	for (struct range *r = ranges; r < ranges + nr_ranges; r++) {
		paddr_t start = ALIGN_UP(r->start, align);

		if (start < r->start || start > r->end || r->end - start < bytes)
			continue;
		if (start > r->start) {
			memmove(r + 1, r, (size_t)(ranges + nr_ranges++ - r) * sizeof(*r));
			r->end = start;
			r++;
		}
		r->start = start + bytes;
		return phys_to_virt(start);
	}
	return NULL;
}

static paddr_t ram_end(void)
{
	paddr_t end = 0;

	for (unsigned i = 0; i < nr_ranges; i++)
		if (ranges[i].start < ranges[i].end)
			end = ranges[i].end;
	if (!end)
		panic("memory: no usable RAM");
	return end;
}

// The part of a range that lies in the section; empty: start >= end.
static struct range part_in(const struct range *r, u64 section)
{
	return (struct range){ MAX(r->start, section * SECTION_SIZE), MIN(r->end, (section + 1) * SECTION_SIZE) };
}

static u64 ram_in(u64 section)
{
	u64 sum = 0;

	for (unsigned i = 0; i < nr_ranges; i++) {
		struct range part = part_in(&ranges[i], section);

		sum += part.start < part.end ? part.end - part.start : 0;
	}
	return sum;
}

// Such a section never lies in the middle of a range: a whole section of RAM could hold its own descriptors.
static void leave_out(u64 section)
{
	for (struct range *r = ranges; r < ranges + nr_ranges; r++) {
		struct range part = part_in(r, section);

		if (part.start >= part.end)
			continue;
		poor.start = poor_bytes ? MIN(poor.start, part.start) : part.start;
		poor.end = MAX(poor.end, part.end);
		poor_bytes += part.end - part.start;
		if (part.start == r->start)
			r->start = part.end;
		else
			r->end = part.start;
	}
}

// Reserve the array's addresses, and a bit for each of its sections.
static bool reserve_map(u64 sections)
{
	u64 bytes = ALIGN_UP(ALIGN_UP(sections, 64) / 8, PAGE_SIZE);

	page_map = arch_page_map(sections * SECTION_DESCRIPTORS);
	page_sections = page_map ? carve(bytes, PAGE_SIZE) : NULL;
	if (!page_sections)
		return false;
	memset(page_sections, 0, bytes);
	return true;
}

// Called in ascending order. A broken memory map may name a little memory at an absurd address, or much of it in small
// pieces: a section with less RAM than its descriptors take is left out.
static void back_section(u64 section)
{
	u64 ram = ram_in(section);
	void *memory;

	if (!ram)
		return;
	memory = ram > SECTION_DESCRIPTORS ? carve(SECTION_DESCRIPTORS, SECTION_DESCRIPTORS) : NULL;
	if (!memory) {
		leave_out(section);
		return;
	}
	arch_page_map_back(page_map + (section << SECTION_ORDER), virt_to_phys(memory));
	page_sections[section / 64] |= 1ull << section % 64;
	page_map_frames = (section + 1) << SECTION_ORDER;
}

static void place_map(void)
{
	u64 last, next = 0;

	while (last = (ram_end() - 1) / SECTION_SIZE, !reserve_map(last + 1))
		leave_out(last);
	// carve() may insert a range below this one: then this one comes again, with its sections done.
	for (unsigned i = 0; i < nr_ranges; i++) {
		next = MAX(next, ranges[i].start / SECTION_SIZE);
		while (next * SECTION_SIZE < ranges[i].end)
			back_section(next++);
	}
	if (poor_bytes)		// Xen always gives dom0 some such
		klog(poor_bytes >> 20 ? LOG_WARN : LOG_INFO,
		     "memory: %llu KiB between 0x%llx and 0x%llx left out: too little in one place for its descriptors",
		     (unsigned long long)poor_bytes >> 10, (unsigned long long)poor.start, (unsigned long long)poor.end);
}

// Fill in the descriptors of the frames that have one. Nobody else runs: this is the only place where counts are
// plainly stored.
static void describe(u64 first, u64 end, enum page_kind kind)
{
	struct page p = { .refs = kind == PAGE_RESERVED, .kind = kind, .order = kind == PAGE_FREE ? ORDER_INSIDE : 0 };

	while (first < end) {
		u64 stop = MIN(ALIGN_UP(first + 1, 1ull << SECTION_ORDER), end);

		if (page_valid(first << PAGE_SHIFT))
			for (u64 i = first; i < stop; i++)
				page_map[i] = p;
		first = stop;
	}
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

	arch_for_each_ram(collect);
	if (lost_ranges)
		log_warn("memory: too many ranges: %u beyond the first %d are left out", lost_ranges, MAX_RANGES);
	place_map();
	for (unsigned i = 0; i < nr_ranges; i++) {
		u64 first = ranges[i].start >> PAGE_SHIFT, end = ranges[i].end >> PAGE_SHIFT;

		describe(described, first, PAGE_RESERVED);
		describe(first, end, PAGE_FREE);
		described = end;
		total_frames += end - first;
	}
	describe(described, page_map_frames, PAGE_RESERVED);
	for (unsigned i = 0; i < nr_ranges; i++)
		give_range(ranges[i].start >> PAGE_SHIFT, ranges[i].end >> PAGE_SHIFT);
}

u64 page_total_count(void) { return total_frames; }
u64 page_ram_bytes(void) { return arch_ram_bytes() - lost_bytes - poor_bytes; }
