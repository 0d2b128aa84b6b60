// SPDX-License-Identifier: MIT
// Contract: this CPU's interrupt flag.
#pragma once
#include "kernel/types.h"

typedef u64 irqflags_t;

static __always_inline irqflags_t irq_flags(void);
static __always_inline bool irqs_enabled_in(irqflags_t f);
static __always_inline bool irqs_enabled(void);
static __always_inline irqflags_t irq_save(void);	// off; returns what was
static __always_inline void irq_restore(irqflags_t f);
static __always_inline void irq_disable(void);
static __always_inline void irq_enable(void);
// Enable interrupts and wait for one, without a gap between the two; returns with interrupts on.
static __always_inline void irq_enable_and_halt(void);

#include <impl/irq.h>
