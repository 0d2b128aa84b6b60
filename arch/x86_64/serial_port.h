// SPDX-License-Identifier: MIT
// A device that carries the serial line. serial.c has the ring before it, and all waiting.
#pragma once
#include "kernel/types.h"

struct serial_port {
	u32 (*room)(void);	// how many characters it takes now; 0: none
	void (*put)(u8 c);	// one of those
	void (*notify)(void);	// after some: tell who reads them; NULL: there is nobody to tell
	bool (*all_sent)(void);	// has all of it been sent, or read?
	int (*getc)(void);	// -1: nothing received
	u32 slowness;		// how many times longer a character takes than at 115200 baud
};

extern struct serial_port uart;			// uart.c
bool uart_open(u16 port, u32 baud);		// baud: divides 115200. False: no 16550 answers there
#define UART_MOST_BAUD 115200

extern struct serial_port xen_console;		// xen_console.c
bool xen_console_open(void);			// false: this machine has none
// The first page tables reach all below 4 GiB; the kernel's own do not: call this as soon as those are loaded.
void xen_console_map(void);
