// SPDX-License-Identifier: MIT
// What arch's interrupt entries call. One pair around every handler; RCU and the scheduler hang on it.
#pragma once
#include "kernel/types.h"

void irq_enter(void);		// IRQs off; leaves RCU's idle state first
void irq_exit(void);		// re-enters it; IRQs off. Does not schedule
void irq_preempt(void);		// last thing before returning to an interrupted context: switch if need_resched and depth 0
void nmi_enter(void);
void nmi_exit(void);
void ipi_reschedule(void);	// handler of IPI_RESCHED, between irq_enter/exit
