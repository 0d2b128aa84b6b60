// SPDX-License-Identifier: MIT
// Deferred flushes (tlb_flush=lazy, flush/lazy.c): what an unmap or an exit has collected waits until every CPU concerned
// has swept.
#pragma once
#include "mm/gather.h"

struct flush;

void lazy_init(void);
// This CPU's sweep, if one is due: its TLB holds nothing any more of what was posted before. IRQs off; where no walk can
// be under way that keeps interrupts off: tick, context switch (and so idle exit), call.
void lazy_sweep(void);
void lazy_idle(void);			// about to idle without tick, IRQs off: let nobody wait for this CPU
void lazy_tick(void);			// from the tick, IRQs off: sweep, and see that somebody completes what is complete
// No CPU reaches by an address in [start, end) what was unmapped there before: needed before anything new appears there.
// One read when nothing waits. Under the space's lock; may wait for CPUs as tlb_flush() does.
void lazy_settle(struct space *s, vaddr_t start, vaddr_t end);
void lazy_hurry(void);			// call all that others wait for. Process context, IRQs on
void lazy_wait(struct space *s);	// until nothing of s waits. Its CPUs have left it. May sleep
u64 lazy_held(void);			// pages that wait for sweeps
