// SPDX-License-Identifier: MIT
// Contract: interrupts between CPUs. The handlers call xcall_interrupt(), ipi_reschedule(); an NMI is dispatched by the
// request words that its senders have set.
#pragma once
#include "kernel/cpumask.h"

enum ipi { IPI_XCALL, IPI_RESCHED, IPI_NMI };

void arch_send_ipi(unsigned cpu, enum ipi kind);		// any context; a full barrier before the send
void arch_send_ipi_mask(const struct cpumask *mask, enum ipi kind);	// may contain the own CPU: it is skipped
