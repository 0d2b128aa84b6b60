// SPDX-License-Identifier: MIT
// The processors: which ones there are, and how they start.
#pragma once
#include "kernel/types.h"

extern u32 cpu_apic_id[NR_CPUS];	// by CPU number; CPU 0 is the boot CPU

// Which of the CPUs listed by ACPI answer? Sets nr_cpus and cpu_apic_id. Boot CPU, after apic_init() and clock_init().
void smp_roll_call(void);
