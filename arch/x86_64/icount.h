// SPDX-License-Identifier: MIT
// A time-stamp counter that counts instructions: QEMU's -icount (docs/measuring.md, "Exact figures").
#pragma once

void icount_init(void);		// boot CPU, after apic_init() and before anything reads the time. IRQs off
void icount_tick(void);		// in each timer interrupt: lets the other CPUs run, where they take turns
