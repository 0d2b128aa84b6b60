// SPDX-License-Identifier: MIT
// The console of a guest of Xen as a port of the serial line.
#pragma once
#include "arch/x86_64/serial_port.h"

extern struct serial_port xen_console;
bool xen_console_open(void);	// after xen_init(). False: this machine has none
// The first page tables reach all below 4 GiB; the kernel's own do not: call this as soon as those are loaded.
void xen_console_map(void);
