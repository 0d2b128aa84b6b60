// SPDX-License-Identifier: MIT
// Which RAM is ours: the loader's map, put in order, less what is claimed otherwise, less the image.
#include "arch/x86_64/memmap.h"
#include "arch/x86_64/bootinfo.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/kmap.h"
#include "arch/x86_64/ram_map_parse.h"
#include "kernel/log.h"
#include "kernel/panic.h"
#include <arch/machine.h>

extern char __image_start_pa[], __image_end[];

struct boot_info boot_info;
// `ram` is all usable RAM (what the direct map covers); `free` is the part of it that is not yet used.
static struct ram_map ram, free;
static paddr_t real_mode_page;
static bool handed_out;		// arch_for_each_ram() has been called: `free` belongs to the page allocator

static _Noreturn void refuse_map(void)
{
	log_error("memory map: no usable RAM, or too many pieces");
	kernel_exit(EXIT_BAD_INPUT);
}

static bool remove_taken(void)
{
	for (unsigned i = 0; i < boot_info.nr_taken; i++)
		if (!ram_map_remove(&free, ALIGN_DOWN(boot_info.taken[i].start, PAGE_SIZE),
				    ALIGN_UP(MIN(boot_info.taken[i].end, DIRECT_MAP_MAX), PAGE_SIZE)))
			return false;
	return true;
}

void ram_init(void)
{
	paddr_t image_start = (paddr_t)(uintptr_t)__image_start_pa, image_end = image_to_phys(__image_end);
	paddr_t limit = MIN(cpu_phys_end(), DIRECT_MAP_MAX);
	u64 beyond = ram_map_beyond(boot_info.memory, boot_info.nr_memory, limit);

	if (beyond)
		log_warn("memory: %llu KiB from 0x%llx on left out: beyond what can be addressed", (unsigned long long)beyond >> 10,
			 (unsigned long long)limit);
	if (!ram_map_build(&ram, boot_info.memory, boot_info.nr_memory, limit))
		refuse_map();
	// A map may report what the loader has filled as not usable. The image runs, so it lies in RAM, and the direct
	// map needs all of it.
	if (!ram_map_covers(&ram, image_start, image_end)) {
		log_warn("memory map: the image, %#llx to %#llx, is not all usable RAM: used anyway, because the loader has put it there",
			 (unsigned long long)image_start, (unsigned long long)image_end);
		if (!ram_map_add(&ram, image_start, image_end))
			refuse_map();
	}
	free = ram;
	if (!remove_taken())
		refuse_map();
	real_mode_page = ram_map_real_mode_page(&free);
	// The first MiB holds the trampoline page and what firmware left there.
	if (!ram_map_remove(&free, 0, 1 << 20) || !ram_map_remove(&free, image_start, image_end) || !free.n)
		refuse_map();
}

paddr_t ram_take_early(void)
{
	paddr_t pa = free.r[0].start;

	BUG_ON(handed_out);
	if (!free.n || pa >= 4ull << 30)
		panic("out of memory for the first page tables");
	ram_map_remove(&free, pa, pa + PAGE_SIZE);
	return pa;
}

// From the end of the last range that is long enough: nearest to memory that is in pieces anyway.
paddr_t ram_take_range(u64 bytes)
{
	u64 len = ALIGN_UP(bytes, PAGE_SIZE);

	BUG_ON(handed_out);
	for (unsigned i = free.n; i--;) {
		paddr_t end = free.r[i].end;

		if (len < end - free.r[i].start) {
			ram_map_remove(&free, end - len, end);
			return end - len;
		}
	}
	return 0;
}

bool ram_is_mapped(paddr_t start, paddr_t end)
{
	return ram_map_covers(&ram, ALIGN_DOWN(start, PAGE_SIZE), end);
}

paddr_t ram_real_mode_page(void) { return real_mode_page; }

// The loader's map may not report the memory of the image as usable.
bool ram_in_image(paddr_t pa, u64 len)
{
	return pa < image_to_phys(__image_end) && pa + len > (paddr_t)(uintptr_t)__image_start_pa;
}

const char *ram_mmio_error(paddr_t pa, u64 len)
{
	if (ram_in_image(pa, len))
		return "lies in the kernel's image";
	return ram_map_mmio_error(&ram, pa, len, cpu_phys_end());
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

u64 arch_ram_bytes(void)
{
	u64 sum = 0;

	for (unsigned i = 0; i < ram.n; i++)
		sum += ram.r[i].end - ram.r[i].start;
	return sum;
}
