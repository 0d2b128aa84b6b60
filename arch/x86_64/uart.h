// SPDX-License-Identifier: MIT
// A 16550 UART as a port of the serial line.
#pragma once
#include "arch/x86_64/serial_port.h"

#define UART_MOST_BAUD 115200
extern struct serial_port uart;
bool uart_open(u16 port, u32 baud);	// baud divides UART_MOST_BAUD. False: no 16550 answers there
