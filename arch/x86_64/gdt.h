// SPDX-License-Identifier: MIT
// Each CPU's descriptor table and task state segment.
#pragma once

void gdt_load(unsigned cpu);	// each CPU: GDT, TSS, segments; GS base survives
