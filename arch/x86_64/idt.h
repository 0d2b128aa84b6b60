// SPDX-License-Identifier: MIT
// The interrupt descriptor table.
#pragma once

void idt_init(void);		// boot CPU: fill the table
void idt_load(void);		// each CPU
