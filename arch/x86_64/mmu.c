// SPDX-License-Identifier: MIT
// Invalidation and roots.
#include <arch/irq.h>
#include <arch/pte.h>
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/cpuid.h"
#include "kernel/panic.h"
#include "lab/counter.h"
#include <arch/tlb.h>

static u64 read_cr3(void)
{
	u64 v;

	__asm__ volatile("mov %%cr3, %0" : "=r"(v) :: "memory");
	return v;
}

static void write_cr3(u64 v) { __asm__ volatile("mov %0, %%cr3" :: "r"(v) : "memory"); }

// 2 MiB pages come with 64-bit mode; 1 GiB pages have a bit of their own, asked for once: CPUID is slow in a guest.
bool arch_has_page_size(int level)
{
	static int has_1g = -1;

	if (level != 3)
		return level == 1 || level == 2;
	if (READ_ONCE(has_1g) < 0)
		WRITE_ONCE(has_1g, (cpuid_has_leaf(0x80000001) && (cpuid(0x80000001).edx >> 26 & 1)));
	return READ_ONCE(has_1g);
}

// Not a switch of roots, and therefore not counted: cr3_writes counts the code that loads a root.
void arch_flush_user(void)
{
	ASSERT(!irqs_enabled());
	write_cr3(read_cr3());
}

// A change of CR4.PGE drops everything, whatever its value was (SDM vol. 3, 4.10.4.1).
void arch_flush_all(void)
{
	u64 cr4;

	__asm__ volatile("mov %%cr4, %0" : "=r"(cr4) :: "memory");
	__asm__ volatile("mov %0, %%cr4" :: "r"(cr4 ^ CR4_PGE) : "memory");
	__asm__ volatile("mov %0, %%cr4" :: "r"(cr4) : "memory");
}

void arch_load_root(paddr_t root)
{
	count(cr3_writes);
	write_cr3(root);
}

paddr_t arch_current_root(void) { return read_cr3() & PTE_ADDR; }
