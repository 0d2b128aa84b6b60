// SPDX-License-Identifier: MIT
// Interrupts on vectors that nobody uses: left by firmware or boot loader, sent by a faulty device or CPU, or spurious
// ones of either interrupt controller. None of them is a reason to stop.
#include "arch/x86_64/stray.h"
#include "arch/x86_64/apic.h"
#include "arch/x86_64/traps.h"
#include "kernel/atomic.h"
#include "kernel/log.h"
#include "kernel/preempt.h"
#include "lab/counter.h"

static u64 named[NR_VECTORS / 64];

static bool first_time(unsigned vector)
{
	u64 bit = 1ull << vector % 64;

	return !(fetch_or(&named[vector / 64], bit) & bit);
}

// An interrupt that the local APIC delivers is in service there, with the highest priority of all that are. A spurious
// interrupt, one of the 8259, and INT n are not: for these an EOI would end another interrupt's service.
void stray_interrupt(struct trap_frame *f)
{
	bool in_service = apic_in_service() == (int)f->vector;

	count(irq_stray);
	if (in_service)
		apic_eoi();
	if (first_time(f->vector))
		log_info("irq: CPU %u: stray interrupt, vector %#x%s; not named again", cpu_id(), f->vector,
			 in_service ? "" : ", not in service");
}
