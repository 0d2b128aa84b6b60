// SPDX-License-Identifier: MIT
// Each CPU's descriptor table, task state segment and IST stacks.
#include "arch/x86_64/gdt.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/io.h"
#include "arch/x86_64/percpu.h"
#include "arch/x86_64/stack.h"
#include <arch/percpu.h>

struct tss {
	u32 reserved0;
	u64 rsp[3];	// stacks for privilege levels 0 … 2
	u64 reserved1;
	u64 ist[7];
	u64 reserved2;
	u16 reserved3, io_map_base;
} __attribute__((packed));
_Static_assert(sizeof(struct tss) == 104, "SDM vol. 3, 7.7");

// Flat segments: kernel code and data, user data and code (in the order that SYSRET wants), and the TSS's two slots.
enum { GDT_NULL, GDT_KCODE, GDT_KDATA, GDT_UDATA, GDT_UCODE, GDT_TSS, GDT_TSS_HIGH, NR_GDT };
_Static_assert(GDT_KCODE * 8 == KERNEL_CS && GDT_KDATA * 8 == KERNEL_DS && GDT_UDATA * 8 + 3 == USER_DS && GDT_UCODE * 8 + 3 == USER_CS, "gdt.h");

struct descriptors {
	u64 gdt[NR_GDT];
	struct tss tss;
};
static DEFINE_PER_CPU(struct descriptors, descriptors) __aligned(16);

static void fill(struct descriptors *d)
{
	u64 tss = (uintptr_t)&d->tss;

	d->gdt[GDT_KCODE] = 0x00af9b000000ffff;
	d->gdt[GDT_KDATA] = 0x00cf93000000ffff;
	d->gdt[GDT_UDATA] = 0x00cff3000000ffff;
	d->gdt[GDT_UCODE] = 0x00affb000000ffff;
	d->gdt[GDT_TSS] = (sizeof(d->tss) - 1) | (tss & 0xffffff) << 16 | 0x89ull << 40 | (tss >> 24 & 0xff) << 56;
	d->gdt[GDT_TSS_HIGH] = tss >> 32;
	d->tss.io_map_base = sizeof(d->tss);	// none
}

void gdt_load(unsigned cpu)
{
	struct descriptors *d = this_cpu_ptr(&descriptors);
	struct {
		u16 limit;
		u64 base;
	} __attribute__((packed)) pointer = { sizeof(d->gdt) - 1, (uintptr_t)d->gdt };

	fill(d);
	for (unsigned i = 0; i < NR_IST; i++)
		d->tss.ist[i] = ist_stack_top(cpu, i);
	// A far return reloads CS. FS and GS are not loaded: only their bases matter, and loading GS would clear its
	// base. There is no LDT. After a reset there is one, at address 0 (SDM vol. 3, 10.1.1), which is the program's:
	// it could have a call gate there.
	__asm__ volatile("lgdt %0\n\t"
			 "pushq %1\n\t"
			 "leaq 1f(%%rip), %%rax\n\t"
			 "pushq %%rax\n\t"
			 "lretq\n"
			 "1:\tmovl %2, %%eax\n\t"
			 "movl %%eax, %%ds\n\t"
			 "movl %%eax, %%es\n\t"
			 "movl %%eax, %%ss\n\t"
			 "ltr %w3\n\t"
			 "lldt %w4"
			 :: "m"(pointer), "i"(GDT_KCODE * 8), "i"(GDT_KDATA * 8), "r"(GDT_TSS * 8), "r"(0)
			 : "rax", "memory");
}

void gdt_set_trap_stack(u64 top) { this_cpu_ptr(&descriptors)->tss.rsp[0] = top; }
