// SPDX-License-Identifier: MIT
// The serial line, a sink and the source of the console (console.c).
#pragma once
#include "kernel/types.h"

void serial_init(void);		// the first UART at 115200 baud, or Xen's console, until serial= says otherwise
void serial_write(const char *s, size_t n);	// "\n" goes out as "\r\n". Any context; one caller at a time
bool serial_pending(void);	// something waits for the port to take it
void serial_push(void);		// send as much of that as the port takes at once. Context as for serial_write()
int serial_getc(void);		// -1: nothing received
void serial_drain(u64 patience_ns);	// wait until all has left the port, or it has taken nothing for so long
