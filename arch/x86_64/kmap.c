// SPDX-License-Identifier: MIT
// The kernel half of the address space (the picture is in kmap.h).
//
// Entries are only ever added: tables by cmpxchg, leaves over non-present entries. x86 caches no non-present entry, so
// nothing here needs a flush, and no lock is held while memory is allocated.
#include "arch/x86_64/kmap.h"
#include "arch/x86_64/bootinfo.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/memmap.h"
#include "arch/x86_64/stack.h"
#include "kernel/lib.h"
#include "kernel/panic.h"
#include "mm/frame/page.h"
#include <arch/machine.h>
#include <arch/tlb.h>

extern char __text_start[], __rodata_start[], __data_start[], __image_end[];

pte_t pte_nx_mask;
static paddr_t kernel_root;
static bool pages_up;		// the page allocator works
static uintptr_t windows_next = WINDOWS_BASE;

static paddr_t new_table(void)
{
	struct page *p;
	paddr_t pa;

	if (!pages_up) {
		pa = ram_take_early();
		memset(phys_to_virt(pa), 0, PAGE_SIZE);
		return pa;
	}
	p = page_alloc(0, PAGE_KERNEL, PG_ZERO);
	return p ? page_to_phys(p) : 0;
}

// The entry for va at `level`; missing tables are made. NULL: out of memory.
static pte_t *entry_make(uintptr_t va, int level)
{
	pte_t *table = phys_to_virt(kernel_root);

	for (int l = PT_LEVELS; l > level; l--) {
		pte_t *e = &table[pt_index(va, l)];

		if (!pte_present(pte_read(e))) {
			paddr_t pa = new_table();

			if (!pa)
				return NULL;
			if (!pte_cmpxchg(e, 0, pa | PTE_P | PTE_W))
				page_put(page_of(pa));	// another CPU was first
		}
		BUG_ON(pte_leaf(pte_read(e), l));
		table = phys_to_virt(pte_addr(pte_read(e)));
	}
	return &table[pt_index(va, level)];
}

pte_t kmap_leaf(uintptr_t va, int *level)
{
	const pte_t *table = phys_to_virt(kernel_root);

	for (int l = PT_LEVELS;; l--) {
		pte_t v = pte_read(&table[pt_index(va, l)]);

		*level = l;
		if (!pte_present(v) || pte_leaf(v, l))
			return pte_present(v) ? v : 0;
		table = phys_to_virt(pte_addr(v));
	}
}

static int best_level(uintptr_t va, paddr_t pa, u64 len, int max_level)
{
	int level = max_level;

	while (level > 1 && (!arch_has_page_size(level) || ((va | pa) & (level_size(level) - 1)) || len < level_size(level)))
		level--;
	return level;
}

bool kmap_range(uintptr_t va, paddr_t pa, u64 len, pte_t flags, int max_level)
{
	while (len) {
		int level = best_level(va, pa, len, max_level);
		pte_t *e = entry_make(va, level);

		if (!e)
			return false;
		BUG_ON(pte_present(pte_read(e)));
		pte_write(e, pa | PTE_P | flags | (level > 1 ? PTE_PS : 0));
		va += level_size(level);
		pa += level_size(level);
		len -= level_size(level);
	}
	return true;
}

static void map_direct(paddr_t start, paddr_t end, pte_t flags)
{
	if (start < end)
		kmap_range(DIRECT_MAP_BASE + start, start, end - start, flags | PTE_G | pte_nx_mask, MMU_NR_PAGE_SIZES);
}

// What is read-only in the image must not be writable in the direct map.
static void map_ram(paddr_t start, paddr_t end)
{
	paddr_t ro = image_to_phys(__text_start), rw = image_to_phys(__data_start);

	map_direct(start, MIN(end, ro), PTE_W);
	map_direct(MAX(start, ro), MIN(end, rw), 0);
	map_direct(MAX(start, rw), end, PTE_W);
}

static void map_image_part(const char *start, const char *end, pte_t flags)
{
	kmap_range((uintptr_t)start, image_to_phys(start), (u64)(end - start), flags | PTE_G, 1);
}

// All but the guard pages of the boot CPU's stacks.
static void map_image_data(void)
{
	const char *from = __data_start;

	for (unsigned i = 0; i < NR_BOOT_STACKS; i++) {
		map_image_part(from, boot_stacks[i].guard, PTE_W | pte_nx_mask);
		from = boot_stacks[i].stack;
	}
	map_image_part(from, __image_end, PTE_W | pte_nx_mask);
}

// The tables above the page descriptors of that RAM. page_init() adds the leaves, when no table can be allocated yet.
static void prepare_page_map(paddr_t start, paddr_t end)
{
	u64 per_table = level_size(3) / sizeof(struct page) * PAGE_SIZE;	// bytes of RAM

	for (paddr_t pa = ALIGN_DOWN(start, per_table); pa < end; pa += per_table)
		entry_make(PAGE_MAP_BASE + pa / PAGE_SIZE * sizeof(struct page), 2);
}

void *arch_page_map(u64 bytes)
{
	return bytes <= DIRECT_MAP_MAX / PAGE_SIZE * sizeof(struct page) ? (void *)PAGE_MAP_BASE : NULL;
}

void arch_page_map_back(void *at, paddr_t pa)
{
	kmap_range((uintptr_t)at, pa, level_size(2), PTE_W | PTE_G | pte_nx_mask, 2);
}

void kmap_init(void)
{
	pte_nx_mask = cpu_has_nx() ? PTE_NX : 0;
	kernel_root = new_table();
	ram_for_each_mapped(map_ram);
	ram_for_each_mapped(prepare_page_map);
	map_image_part(__text_start, __rodata_start, 0);
	map_image_part(__rodata_start, __data_start, pte_nx_mask);
	map_image_data();
	// The root entries of the areas that grow: every later root copies them.
	entry_make(WINDOWS_BASE, PT_LEVELS - 1);
	entry_make(STACKS_BASE, PT_LEVELS - 1);
}

void arch_init_memory(void) { pages_up = true; }

paddr_t arch_kernel_root(void) { return kernel_root; }

void arch_root_init(pte_t *root)
{
	memcpy(root + USER_ROOT_ENTRIES, (pte_t *)phys_to_virt(kernel_root) + USER_ROOT_ENTRIES,
	       (PT_ENTRIES - USER_ROOT_ENTRIES) * sizeof(pte_t));
}

static void *map_window(paddr_t pa, size_t len, pte_t flags)
{
	u64 offset = pa & (PAGE_SIZE - 1), bytes;
	uintptr_t va;

	if (!len || len > 4ull << 30 || pa > cpu_phys_end() - len)
		return NULL;
	bytes = ALIGN_UP(len + offset, PAGE_SIZE);
	va = fetch_add(&windows_next, bytes);
	if (va + bytes > WINDOWS_BASE + STACK_AREA_SIZE)
		return NULL;
	return kmap_range(va, pa - offset, bytes, flags | PTE_G | pte_nx_mask, 1) ? (char *)va + offset : NULL;
}

// Writes to what firmware calls registers must not go into RAM, and no RAM may have two memory types (SDM vol. 3,
// 12.12.4). (acpi.c has checked before, to name the table.)
void *arch_map_mmio(paddr_t pa, size_t len)
{
	return ram_mmio_error(pa, len) ? NULL : map_window(pa, len, PTE_W | PTE_CACHE_OFF);
}

void *arch_map_framebuffer(paddr_t pa, size_t len)
{
	return map_window(pa, len, PTE_W | (cpu_has_pat() ? PTE_PAT_SMALL : PTE_CACHE_OFF));
}

void *arch_map_shared(paddr_t pa, size_t len) { return map_window(pa, len, PTE_W); }
void *arch_map_firmware(paddr_t pa, size_t len) { return map_window(pa, len, 0); }
