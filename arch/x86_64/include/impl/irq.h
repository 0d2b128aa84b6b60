// SPDX-License-Identifier: MIT
// The interrupt flag: RFLAGS.IF.
#pragma once
#include "lab/irqsoff.h"

#define X86_RFLAGS_IF (1u << 9)

static __always_inline irqflags_t irq_flags(void)
{
	irqflags_t f;

	__asm__ volatile("pushfq; popq %0" : "=r"(f) :: "memory");
	return f;
}
static __always_inline bool irqs_enabled_in(irqflags_t f) { return f & X86_RFLAGS_IF; }
static __always_inline bool irqs_enabled(void) { return irqs_enabled_in(irq_flags()); }
static __always_inline irqflags_t irq_save(void)
{
	irqflags_t f = irq_flags();

	__asm__ volatile("cli" ::: "memory");
	if (CHECK && irqs_enabled_in(f))
		irqsoff_begin();
	return f;
}
static __always_inline void irq_disable(void)
{
	if (CHECK)
		irq_save();
	else
		__asm__ volatile("cli" ::: "memory");
}
static __always_inline void irq_enable(void)
{
	irqsoff_end();
	__asm__ volatile("sti" ::: "memory");
}
static __always_inline void irq_restore(irqflags_t f)
{
	if (irqs_enabled_in(f))
		irq_enable();
}
void idle_halt(void);	// switch.asm
static __always_inline void irq_enable_and_halt(void)
{
	irqsoff_end();
	idle_halt();
}
