// SPDX-License-Identifier: MIT
// The console of a guest of Xen as a port of the serial line.
#pragma once
#include "arch/x86_64/serial_port.h"

extern const struct serial_port xen_console;
bool xen_console_open(void);	// after xen_init(). False: this machine has none
// Once more, when the kernel's own tables are loaded, which map it elsewhere.
void xen_console_map(void);
