// SPDX-License-Identifier: MIT
// Leaving the machine.
#include "arch/x86_64/acpi.h"
#include "arch/x86_64/bootinfo.h"
#include "arch/x86_64/hold.h"
#include "arch/x86_64/io.h"
#include "arch/x86_64/xen.h"
#include <arch/irq.h>
#include <arch/machine.h>

#define DRAIN_NS (5 * NSEC_PER_SEC)
#define DEBUG_EXIT_PORT 0xf4	// QEMU's isa-debug-exit: value v ends QEMU with status 2v + 1
enum { KEYBOARD_PORT = 0x64, KEYBOARD_RESET = 0xfe };
#define DEBUG_EXIT_BASE 0x10	// … so that success (QEMU's status 33) differs from all other ends of QEMU

_Noreturn void arch_halt_forever(void)
{
	for (;;)
		__asm__ volatile("cli; hlt" ::: "memory");
}

_Noreturn void arch_exit(int status)
{
	irq_disable();
	arch_console_drain(DRAIN_NS);
	outl(DEBUG_EXIT_PORT, DEBUG_EXIT_BASE + (u32)status);
	hold_screen(status);
	arch_console_drain(DRAIN_NS);
	xen_shutdown(status);
	acpi_power_off();
	// Firecracker has no other switch. Nothing boots again: no firmware has booted this kernel.
	if (boot_info.pvh)
		outb(KEYBOARD_PORT, KEYBOARD_RESET);
	arch_halt_forever();
}
