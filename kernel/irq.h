// SPDX-License-Identifier: MIT
// What arch's interrupt entries call: one pair around every handler. RCU and the scheduler depend on it.
#pragma once
#include "kernel/types.h"

void irq_enter(void);		// IRQs off; leaves RCU's idle state first
void irq_exit(void);		// re-enters it; IRQs off. Does not schedule
void nmi_enter(void);
void nmi_exit(void);
