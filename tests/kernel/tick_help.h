// SPDX-License-Identifier: MIT
// For tests that depend on the tick of their own CPU. The caller stays on that CPU.
#pragma once
#include "kernel/time.h"

// Stops this CPU's tick, which would end a thread's turn at any point. Not for long: threads that sleep on this CPU are
// not woken meanwhile. A tick that is already due is taken before this returns.
static inline void tick_off(void)
{
	irqflags_t flags = irq_save();

	arch_timer_stop();
	irq_restore(flags);
	cpu_relax();
}

static inline void tick_on(void)
{
	irqflags_t flags = irq_save();

	arch_timer_periodic();
	irq_restore(flags);
}

static inline void spin_ticks(u64 n)	// interrupts on
{
	const u64 *mine = this_cpu_ptr(&ticks);
	u64 start = READ_ONCE(*mine);

	spin_until(READ_ONCE(*mine) - start >= n, "the tick of this CPU", cpu_id());
}
