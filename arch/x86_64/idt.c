// SPDX-License-Identifier: MIT
// The interrupt descriptor table: one for all CPUs, filled once.
#include "arch/x86_64/idt.h"
#include "arch/x86_64/gdt.h"
#include "arch/x86_64/stack.h"
#include "arch/x86_64/traps.h"

struct gate {
	u16 offset0, selector;
	u8 ist, type;
	u16 offset16;
	u32 offset32, reserved;
};
_Static_assert(sizeof(struct gate) == 16, "SDM vol. 3, 6.14.1");

#define INTERRUPT_GATE 0x8e
#define FROM_USER_MODE 0x60	// DPL 3: also by INT n

extern const u64 trap_stubs[NR_VECTORS];	// traps.asm
static struct gate idt[NR_VECTORS] __aligned(16);

// Stacks of their own for what may come when the current stack cannot be trusted.
static u8 ist_of(unsigned vector)
{
	switch (vector) {
	case VEC_NMI:
		return 1;
	case VEC_DF:
		return 2;
	case VEC_MC:
		return 3;
	case VEC_DB:
		return 4;
	default:
		return 0;
	}
}
_Static_assert(NR_IST == 4, "ist_of");

void idt_init(void)
{
	for (unsigned v = 0; v < NR_VECTORS; v++)
		idt[v] = (struct gate){
			.offset0 = (u16)trap_stubs[v], .offset16 = (u16)(trap_stubs[v] >> 16),
			.offset32 = (u32)(trap_stubs[v] >> 32), .selector = KERNEL_CS, .ist = ist_of(v),
			.type = INTERRUPT_GATE | (v == VEC_BP ? FROM_USER_MODE : 0),
		};
}

void idt_load(void)
{
	struct {
		u16 limit;
		u64 base;
	} __attribute__((packed)) pointer = { sizeof(idt) - 1, (uintptr_t)idt };

	__asm__ volatile("lidt %0" :: "m"(pointer));
}
