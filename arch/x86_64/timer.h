// SPDX-License-Identifier: MIT
// The local APIC's timer: set-up. What the kernel uses of it is in arch/time.h.
#pragma once

void timer_init(void);		// boot CPU, after clock_init() and apic_init()
void timer_init_cpu(void);	// each CPU
