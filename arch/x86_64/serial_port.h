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
