// SPDX-License-Identifier: MIT
// The kernel half as it is mapped: what is writable, guards, large pages, windows; and each CPU's protection bits.
#include "arch/x86_64/bootinfo.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/io.h"
#include "arch/x86_64/kmap.h"
#include "arch/x86_64/memmap.h"
#include "arch/x86_64/stack.h"
#include "kernel/thread.h"
#include "lab/test.h"
#include "mm/frame/page.h"
#include <arch/irq.h>
#include <arch/machine.h>
#include <arch/tlb.h>

extern char __text_start[], __rodata_start[], __data_start[], __image_end[];

static bool maps_at(uintptr_t va, pte_t with, pte_t without)
{
	int level;
	pte_t v = kmap_leaf(va, &level);

	return v && (v & with) == with && !(v & without);
}

static bool maps(const void *va, pte_t with, pte_t without) { return maps_at((uintptr_t)va, with, without); }

static bool unmapped(uintptr_t va)
{
	int level;

	return !kmap_leaf(va, &level);
}

TEST(kmap, image, 0)
{
	for (char *p = __text_start; p < __rodata_start; p += PAGE_SIZE)
		REQUIRE(maps(p, PTE_G, PTE_W | PTE_U | PTE_NX) && maps(phys_to_virt(image_to_phys(p)), pte_nx_mask, PTE_W | PTE_U));
	for (char *p = __rodata_start; p < __data_start; p += PAGE_SIZE)
		REQUIRE(maps(p, PTE_G | pte_nx_mask, PTE_W | PTE_U) && maps(phys_to_virt(image_to_phys(p)), pte_nx_mask, PTE_W));
	EXPECT(maps(__data_start, PTE_W | pte_nx_mask, PTE_U));
	EXPECT(maps_at((uintptr_t)__image_end - 1, PTE_W | pte_nx_mask, PTE_U));
	EXPECT(unmapped((uintptr_t)__text_start - 1) && unmapped((uintptr_t)__image_end));
	EXPECT(unmapped(0));
}

TEST(kmap, guards, 0)
{
	char *stack = arch_stack_alloc();
	uintptr_t lo, hi;

	REQUIRE(stack);
	for (unsigned i = 0; i < NR_BOOT_STACKS; i++)
		EXPECT(unmapped((uintptr_t)boot_stacks[i].guard) &&
		       unmapped((uintptr_t)boot_stacks[i].stack - 1) && maps(boot_stacks[i].stack, PTE_W, 0));
	EXPECT(unmapped((uintptr_t)stack - 1) && unmapped((uintptr_t)stack + KSTACK_SIZE));
	EXPECT(maps(stack, PTE_W | pte_nx_mask, PTE_U) && maps(stack + KSTACK_SIZE - 1, PTE_W, 0));
	EXPECT(stack_is_guard((uintptr_t)stack - 1) && !stack_is_guard((uintptr_t)stack));
	EXPECT(stack_bounds((uintptr_t)stack + 100, &lo, &hi) && lo == (uintptr_t)stack && hi == lo + KSTACK_SIZE);
	EXPECT(!stack_bounds((uintptr_t)stack - 8, &lo, &hi) && !stack_bounds(STACKS_BASE + STACK_AREA_SIZE - 8, &lo, &hi));
	EXPECT(current && unmapped((uintptr_t)current->stack - 1));
	arch_stack_free(stack);
	EXPECT(arch_stack_alloc() == stack);
	arch_stack_free(stack);
}

static u64 leaves[PT_LEVELS + 1];
static bool wrong_frame;

static void count_leaves(paddr_t start, paddr_t end)
{
	while (start < end) {
		int level;
		pte_t v = kmap_leaf((uintptr_t)phys_to_virt(start), &level);
		u64 inside = start & (level_size(level) - 1);

		if (!v || pte_addr(v) + inside != start || !(v & PTE_G))
			wrong_frame = true;
		leaves[level]++;
		start += level_size(level) - inside;
	}
}

// Every frame at its place; small pages only at ragged ends and around the image.
TEST(kmap, direct_map, 0)
{
	u64 bytes = arch_ram_bytes();

	leaves[1] = leaves[2] = leaves[3] = 0;
	ram_for_each_mapped(count_leaves);
	EXPECT(!wrong_frame);
	EXPECT(leaves[3] * level_size(3) + leaves[2] * level_size(2) > bytes / 2);
	if (arch_has_page_size(3) && bytes >= 6ull << 30)
		EXPECT(leaves[3] >= 2);
	else if (!arch_has_page_size(3))
		EXPECT_EQ(leaves[3], 0);
}

// One leaf for each section, and nothing where no RAM is.
TEST(kmap, page_descriptors, 0)
{
	for (u64 frame = 0; frame <= page_map_frames && !test_failed(); frame += 1 << SECTION_ORDER) {
		uintptr_t va = (uintptr_t)&page_map[frame];
		int level;
		pte_t v = kmap_leaf(va, &level);

		if (page_valid(frame << PAGE_SHIFT))
			EXPECT(level == 2 && maps_at(va, PTE_W | PTE_G | pte_nx_mask, PTE_U));
		else
			EXPECT(!v);
	}
}

TEST(kmap, windows, 0)
{
	u32 *a = arch_map_mmio(0xfee00030, 4);
	char *b = arch_map_firmware(0xffff8, 16);
	char *c = arch_map_framebuffer(0xb8000, 4000);
	pte_t combining = cpu_has_pat() ? PTE_PAT_SMALL : PTE_CACHE_OFF;

	REQUIRE(a && b && c);
	EXPECT((uintptr_t)a % PAGE_SIZE == 0x30 && maps(a, PTE_W | PTE_CACHE_OFF | pte_nx_mask, PTE_U));
	EXPECT(maps(c, PTE_W | combining | pte_nx_mask, PTE_U | (PTE_CACHE_OFF & ~combining)));
	EXPECT(maps(b, pte_nx_mask, PTE_W | PTE_U | PTE_CACHE_OFF) && maps(b + 15, 0, PTE_W));
	EXPECT(!arch_map_mmio(cpu_phys_end() - 4, 8));		// beyond the CPU's physical addresses
	EXPECT(!arch_map_mmio(image_to_phys(__text_start), 4) && !arch_map_mmio(arch_kernel_root(), 4));	// mapped twice, writable
	EXPECT(!arch_map_mmio(~0ull - 4, 8) && !arch_map_mmio(0, 0) && !arch_map_firmware(0, ~0ull));
}

TEST(kmap, new_roots_share_the_kernel_half, 0)
{
	static pte_t root[PT_ENTRIES] __aligned(PAGE_SIZE);
	const pte_t *kernel = phys_to_virt(arch_kernel_root());

	arch_root_init(root);
	for (unsigned i = 0; i < PT_ENTRIES; i++)
		EXPECT(root[i] == (i < USER_ROOT_ENTRIES ? 0 : pte_read(&kernel[i])));
	EXPECT(root[pt_index(PAGE_MAP_BASE, PT_LEVELS)]);
	EXPECT(root[pt_index(WINDOWS_BASE, PT_LEVELS)] && root[pt_index(STACKS_BASE, PT_LEVELS)]);
}

// The leaf of a small page of the kernel half, to be changed.
static pte_t *leaf_entry(uintptr_t va)
{
	pte_t *table = phys_to_virt(arch_kernel_root());

	for (int l = PT_LEVELS; l > 1; l--)
		table = phys_to_virt(pte_addr(pte_read(&table[pt_index(va, l)])));
	return &table[pt_index(va, 1)];
}

static u64 read_twice(const u64 *p)	// the second time from the TLB
{
	(void)READ_ONCE(*p);
	return READ_ONCE(*p);
}

// A global translation outlives the reload of the root where the processor keeps such translations (TCG does not), and
// no translation outlives arch_flush_all(), by which the thief plays the hypervisor's flush. Interrupts are off, so
// that no switch of threads flushes in between.
TEST(kmap, flush_all_drops_global_translations, NEEDS_HW)
{
	struct page *old = page_alloc(0, PAGE_KERNEL, 0), *new = page_alloc(0, PAGE_KERNEL, 0);
	u64 *window, after_root, after_all;
	irqflags_t flags;

	REQUIRE(old && new);
	*(u64 *)phys_to_virt(page_to_phys(old)) = 1;
	*(u64 *)phys_to_virt(page_to_phys(new)) = 2;
	window = arch_map_firmware(page_to_phys(old), sizeof(u64));
	REQUIRE(window && maps(window, PTE_G, PTE_W));
	flags = irq_save();
	EXPECT_EQ(read_twice(window), 1);
	pte_write(leaf_entry((uintptr_t)window), page_to_phys(new) | PTE_P | PTE_G | pte_nx_mask);
	arch_flush_user();
	after_root = READ_ONCE(*window);
	arch_flush_all();
	after_all = READ_ONCE(*window);
	pte_write(leaf_entry((uintptr_t)window), 0);
	arch_flush_all();
	irq_restore(flags);
	log_info("global translations %s a reload of the root", after_root == 1 ? "outlive" : "do not outlive");
	EXPECT_EQ(after_all, 2);
	page_put(old);
	page_put(new);
}

static int check_protections(void *unused)
{
	u64 cr0, cr4;

	__asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
	__asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
	if (cpu_has_pat() && rdmsr(MSR_PAT) != PAT_KERNEL)
		return -1;
	return (cr0 & CR0_KERNEL) == CR0_KERNEL && !(cr0 & CR0_EM) && cr4 == cpu_cr4_wanted() ? 0 : -1;
}

TEST(kmap, every_cpu_is_protected, 0)
{
	EXPECT_EQ(threads_run_on(&cpus_online, check_protections, NULL), 0);
}

TEST(kmap, symbols, 0)
{
	u64 offset = 1;
	uintptr_t pcs[8];
	unsigned n = arch_backtrace(pcs, ARRAY_SIZE(pcs));
	const char *name = symbol_name((uintptr_t)arch_stack_alloc, &offset);

	EXPECT(!offset && name[0] == 'a' && name[11] == 'a');
	EXPECT(*symbol_name(0, &offset) == '?' && *symbol_name((uintptr_t)__image_end, &offset) == '?');
	REQUIRE(n >= 2);
	EXPECT(*symbol_name(pcs[1], &offset) != '?');
}
