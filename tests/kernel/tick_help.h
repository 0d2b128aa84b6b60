// SPDX-License-Identifier: MIT
// Tests that mind the tick of their own CPU. The caller stays on it.
#pragma once
#include "kernel/time.h"

// This CPU without its tick, which would end a thread's turn at a place of its own choice. Not for long: what sleeps here
// is not woken. One that is due comes before we return.
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
