// SPDX-License-Identifier: MIT
// Which RAM is ours: the loader's map, put in order, less what others claim, less the image.
#include "arch/x86_64/bootinfo.h"
#include "arch/x86_64/kmap.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/panic.h"
#include <arch/machine.h>

extern char __image_start_pa[], __image_end[];

struct boot_info boot_info;
// `ram` is all usable RAM (what the direct map covers); `free` is what of it nobody uses yet.
static struct ram_map ram, free;
static bool handed_out;		// arch_for_each_ram() has been called: `free` belongs to the page allocator

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

// Add [start, end): swallow every range that it overlaps or touches, then insert the union in its place.
static bool ram_map_add(struct ram_map *m, paddr_t start, paddr_t end)
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
bool ram_map_build(struct ram_map *m, const struct memory_range *in, unsigned n)
{
	m->n = 0;
	for (unsigned i = 0; i < n; i++) {
		paddr_t start = MIN(in[i].start, DIRECT_MAP_MAX), end = MIN(in[i].end, DIRECT_MAP_MAX);

		start = ALIGN_UP(start, PAGE_SIZE);
		end = ALIGN_DOWN(end, PAGE_SIZE);
		if (in[i].usable && start < end && !ram_map_add(m, start, end))
			return false;
	}
	for (unsigned i = 0; i < n; i++) {
		paddr_t end = MIN(in[i].end, DIRECT_MAP_MAX);

		if (!in[i].usable && !ram_map_remove(m, ALIGN_DOWN(in[i].start, PAGE_SIZE), ALIGN_UP(end, PAGE_SIZE)))
			return false;
	}
	return m->n > 0;
}

void ram_init(void)
{
	static const char bad[] = "memory map: no usable RAM, or too many pieces";

	if (!ram_map_build(&ram, boot_info.memory, boot_info.nr_memory)) {
		log_error("%s", bad);
		kernel_exit(EXIT_BAD_INPUT);
	}
	free = ram;
	// The first MiB holds the trampoline page and what firmware left there.
	if (!ram_map_remove(&free, 0, 1 << 20) ||
	    !ram_map_remove(&free, (paddr_t)(uintptr_t)__image_start_pa, image_to_phys(__image_end)) || !free.n) {
		log_error("%s", bad);
		kernel_exit(EXIT_BAD_INPUT);
	}
}

paddr_t ram_take_early(void)
{
	struct memory_range *r = &free.r[0];
	paddr_t pa = r->start;

	BUG_ON(handed_out);
	if (!free.n || pa >= 4ull << 30)
		panic("out of memory for the first page tables");
	r->start += PAGE_SIZE;
	if (r->start == r->end)
		delete_at(&free, 0);
	return pa;
}

void ram_for_each_mapped(void (*fn)(paddr_t start, paddr_t end))
{
	for (unsigned i = 0; i < ram.n; i++)
		fn(ram.r[i].start, ram.r[i].end);
}

void arch_for_each_ram(void (*fn)(paddr_t start, paddr_t end))
{
	handed_out = true;
	for (unsigned i = 0; i < free.n; i++)
		fn(free.r[i].start, free.r[i].end);
}

paddr_t arch_ram_end(void) { return ram.r[ram.n - 1].end; }

u64 arch_ram_bytes(void)
{
	u64 sum = 0;

	for (unsigned i = 0; i < ram.n; i++)
		sum += ram.r[i].end - ram.r[i].start;
	return sum;
}
