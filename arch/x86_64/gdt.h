// SPDX-License-Identifier: MIT
// Each CPU's descriptor table and task state segment.
#pragma once
#include "kernel/types.h"

// Selectors. The user's come in the order that SYSRET wants: data, then code, 8 and 16 above what STAR names.
enum { KERNEL_CS = 1 * 8, KERNEL_DS = 2 * 8, USER_DS = 3 * 8 + 3, USER_CS = 4 * 8 + 3 };

void gdt_load(unsigned cpu);	// each CPU: GDT, TSS, segments; GS base survives
void gdt_set_trap_stack(u64 top);	// this CPU: where a trap from user mode builds its frame. IRQs off
