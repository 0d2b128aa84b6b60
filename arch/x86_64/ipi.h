// SPDX-License-Identifier: MIT
// Interrupts between CPUs: set-up. What the kernel uses of them is in arch/ipi.h.
#pragma once

void ipi_init(void);	// boot CPU: the handlers
