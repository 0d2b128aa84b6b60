// SPDX-License-Identifier: MIT
// The serial console; its output functions are the contract's (arch/machine.h).
#pragma once

void serial_init(void);		// the first port at 115200 baud, until serial= says otherwise
void serial_drain(void);	// wait, for a while, until all has left the UART
