// SPDX-License-Identifier: MIT
// The interrupt flag is a word of the CPU. Turning it on is a yield point: interrupts that waited are taken there.
#pragma once
#include <arch/atomic.h>

static __always_inline irqflags_t irq_flags(void)
{
	return __atomic_load_n(&host_this(host_irq)->enabled, __ATOMIC_RELAXED);
}
static __always_inline void irq_disable(void)
{
	__atomic_store_n(&host_this(host_irq)->enabled, 0, __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}
static __always_inline void irq_enable(void)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(&host_this(host_irq)->enabled, 1, __ATOMIC_RELAXED);
	arch_yield_point();
}
static __always_inline bool irqs_enabled_in(irqflags_t f) { return f; }
static __always_inline bool irqs_enabled(void) { return irqs_enabled_in(irq_flags()); }
static __always_inline irqflags_t irq_save(void)
{
	irqflags_t f = irq_flags();

	irq_disable();
	return f;
}
static __always_inline void irq_restore(irqflags_t f)
{
	if (irqs_enabled_in(f))
		irq_enable();
}
static __always_inline void irq_enable_and_halt(void) { host_halt(); }
