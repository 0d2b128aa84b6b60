// SPDX-License-Identifier: MIT
// RAM, and the roots of the memory-management unit. Its TLB is the adversary's (lab/swmmu.h); uaccess.c has the accesses.
#include "kernel/panic.h"
#include "lab/counter.h"
#include "mm/frame/page.h"
#include <arch/machine.h>
#include <arch/pte.h>
#include <arch/percpu.h>
#include "arch/host/host.h"
#include "arch/host/os.h"
#include <arch/tlb.h>

// So that no code relies on RAM in one piece: a hole as on old PCs, and three eighths of the RAM far away, up to where
// a whole section has no neighbour to merge with. What is not RAM cannot be accessed.
#define RAM_START (1ull << 20)
#define HOLE_START (15ull << 20)
#define HOLE_END (16ull << 20)
#define FAR_END_OFFSET (5 * SECTION_SIZE)	// in its GiB

uintptr_t host_ram;
pte_t pte_nx_mask = PTE_NX;
enum host_map host_map;
static paddr_t low_end, far_start, ram_end;
static paddr_t kernel_root;
static DEFINE_PER_CPU(paddr_t, loaded_root);

void host_ram_init(u64 bytes)
{
	low_end = bytes / 8 * 5;
	ram_end = ALIGN_UP(low_end + bytes, level_size(3)) + FAR_END_OFFSET;
	far_start = ram_end - (bytes - low_end + RAM_START + HOLE_END - HOLE_START);
	host_ram = (uintptr_t)os_reserve(ram_end);
	if (!host_ram || !os_allow(phys_to_virt(0), RAM_START, false) ||
	    !os_allow(phys_to_virt(HOLE_START), HOLE_END - HOLE_START, false) ||
	    !os_allow(phys_to_virt(low_end), far_start - low_end, false))
		os_exit(1);
}

// The array gets memory of its own; the frames that page_init() takes for it stay unused. Behind its end, for the
// length of a largest block's descriptors, nothing can be accessed, so that a look beyond the end is caught.
void *arch_page_map(u64 bytes)
{
	void *map = os_reserve(bytes += sizeof(struct page) << MAX_ORDER);

	return map && os_allow(map, bytes, false) ? map : NULL;
}

void arch_page_map_back(void *at, paddr_t pa)
{
	if (!os_allow(at, level_size(2), true))
		panic("no memory for page descriptors");
}

// As a broken firmware might report it: pieces of less than a page, a range that ends before it begins, one twice, and
// memory at an address that is absurd.
static void for_each_absurd(void (*fn)(paddr_t start, paddr_t end))
{
	fn(16, PAGE_SIZE - 16);
	fn(RAM_START, HOLE_START / 2 + 123);
	fn(RAM_START + PAGE_SIZE, HOLE_START / 2);
	fn(HOLE_START, HOLE_START - PAGE_SIZE);
	fn(HOLE_END, low_end);
	fn(ALIGN_UP(far_start, SECTION_SIZE) - (1 << 20), ram_end);	// begins in a section of which it is all, and little
	fn(1ull << 50, (1ull << 50) + PAGE_SIZE);
}

// More pieces than the kernel keeps.
static void for_each_piece(void (*fn)(paddr_t start, paddr_t end))
{
	u64 pieces = 400;

	fn(HOLE_END, low_end);
	fn(far_start, ram_end - 2 * pieces * PAGE_SIZE);
	for (u64 i = 0; i < pieces; i++)
		fn(ram_end - (2 * (pieces - i) - 1) * PAGE_SIZE, ram_end - 2 * (pieces - i - 1) * PAGE_SIZE);
}

void arch_for_each_ram(void (*fn)(paddr_t start, paddr_t end))
{
	if (host_map == MAP_ABSURD) {
		for_each_absurd(fn);
	} else if (host_map == MAP_PIECES) {
		for_each_piece(fn);
	} else {
		fn(RAM_START, HOLE_START);
		fn(HOLE_END, low_end);
		fn(far_start, ram_end);
	}
}

u64 arch_ram_bytes(void) { return low_end - RAM_START - (HOLE_END - HOLE_START) + ram_end - far_start; }

void arch_init_memory(void)
{
	struct page *root = page_alloc(0, PAGE_KERNEL, PG_ZERO | PG_NOFAIL_INJECT);

	if (!root)
		panic("no memory for the kernel's root");
	kernel_root = page_to_phys(root);
	this_cpu_write(loaded_root, kernel_root);
}

bool arch_has_page_size(int level) { return level >= 1 && level <= MMU_NR_PAGE_SIZES; }
void arch_root_init(pte_t *root) { }	// the kernel half is the process's own
paddr_t arch_kernel_root(void) { return kernel_root; }
void arch_load_root(paddr_t root)
{
	count(cr3_writes);
	this_cpu_write(loaded_root, root);
}

paddr_t arch_current_root(void)
{
	paddr_t root = this_cpu_read(loaded_root);

	return root ? root : kernel_root;
}
void arch_flush_user(void) { ASSERT(!irqs_enabled()); }	// mm/inval.h flushes the TLB
void arch_flush_all(void) { }
