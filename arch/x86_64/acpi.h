// SPDX-License-Identifier: MIT
// What the ACPI tables say about this machine.
#pragma once
#include "arch/x86_64/acpi_parse.h"

// Find and check the tables. Each one that is missing or broken is named in the log, and what it would have said is
// missing: without a MADT the kernel uses the boot CPU only.
void acpi_init(u32 boot_apic_id);
const struct acpi_madt *acpi_madt(void);
u64 acpi_hpet_address(void);			// 0: no HPET
u16 acpi_pm_timer_port(bool *is_32bit);		// 0: no PM timer
bool acpi_power_off(void);			// any context; false: this machine does not switch off this way
