// SPDX-License-Identifier: MIT
// The console: where the printer's text goes to, and what is typed comes from.
#include "arch/x86_64/screen.h"
#include "arch/x86_64/serial.h"
#include <arch/machine.h>

void arch_console_write(const char *s, size_t n)
{
	screen_write(s, n);
	serial_write(s, n);
}

bool arch_console_pending(void) { return serial_pending(); }
void arch_console_push(void) { serial_push(); }
void arch_console_drain(u64 patience_ns) { serial_drain(patience_ns); }
int arch_console_getc(void) { return serial_getc(); }
