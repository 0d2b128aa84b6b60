// SPDX-License-Identifier: MIT
// Contract: the machine as a whole: boot information, CPUs, console, exit, backtraces.
#pragma once
#include "kernel/types.h"

// The console. Any context, but one caller at a time for these four (kernel/log.c): the printer's owner.
void arch_console_write(const char *s, size_t n);	// to screen and serial line; what a device does not take soon is pending
bool arch_console_pending(void);			// also without owning the printer, as a hint
void arch_console_push(void);				// send what is pending, as far as it goes without waiting
void arch_console_drain(u64 patience_ns);		// the same, but wait, until nothing has gone out for so long
int arch_console_getc(void);				// -1: nothing typed
_Noreturn void arch_exit(int status);			// isa-debug-exit 0x10+status; or ACPI power-off; or halt
_Noreturn void arch_halt_forever(void);			// this CPU, IRQs off

const char *arch_cmdline_boot(void);			// GRUB's line ("" if none)
const char *arch_cmdline_override(void);		// fw_cfg opt/quiesce/cmdline ("" if none)
size_t arch_cmdline_override_len(void);			// its bytes; until they are parsed, zeros may be among them

// The program that was passed for mode=run: the bytes of its file, which stay where they are, for ever; NULL: none, or
// arch_program_error() says why it could not be taken (NULL: it was, or there is none). Its arguments are a line
// (proc/args.h), the program's own name first; "" if none was passed. Whoever passed all that is not trusted.
const void *arch_program(u64 *size);
const char *arch_program_error(void);
const char *arch_program_args(void);

const char *arch_firmware(void);			// "bios" | "uefi" | "pvh" (none: the loader started us at once) | "host"
const char *arch_hypervisor(void);			// "none" | "tcg" | "kvm" | …
const char *arch_apic_mode(void);			// "xapic" | "x2apic" | "none"
const char *arch_cpu_brand(void);			// what the CPU calls itself ("" if it does not)
const char *arch_cpu_features(void);			// those that matter here, names separated by blanks
unsigned arch_most_starting_cpus(void);			// most APs that were in the trampoline at once

// Usable RAM, for the page allocator: calls fn for each range that is free to use, in ascending order.
void arch_for_each_ram(void (*fn)(paddr_t start, paddr_t end));
u64 arch_ram_bytes(void);				// total usable

void arch_init_early(void);	// what kernel_main() needs first: console, boot info, descriptors, traps, the kernel's
				// mappings (W^X, guard pages, direct map). Called by the entry code
void arch_init_memory(void);	// after page_init(): tables of the kernel's half may now be taken from it
void arch_init_platform(void);	// ACPI, APIC, clock calibration; sets nr_cpus (honouring opt_cpus)
void arch_start_cpus(void);	// start all others in parallel; each calls cpu_main() on its own stack
_Noreturn void kernel_main(void);	// kernel/main.c: the boot CPU, called after arch_init_early()
_Noreturn void cpu_main(void);	// kernel/main.c: an application processor

// From the processor's own generator; false: it has none, or has nothing to give now. Any context.
bool arch_random64(u64 *v);

// NMIs coalesce, so each registered handler is called for every NMI and checks its own request word. Between
// nmi_enter() and nmi_exit(); must not fault, must not touch user memory.
typedef void nmi_handler_fn(void);
#define NMI_HANDLER(fn) REGISTER(nmi_handlers, fn)

// Backtrace from the caller, or from an interrupted context given by the trap code: return addresses into out, count
// returned.
unsigned arch_backtrace(uintptr_t *out, unsigned max);
unsigned arch_backtrace_interrupted(uintptr_t *out, unsigned max);	// in interrupt or NMI: the context below it
struct thread;
unsigned arch_backtrace_asleep(const struct thread *t, uintptr_t *out, unsigned max);	// no CPU executes t; 0: unknown
const char *symbol_name(uintptr_t addr, u64 *offset);	// "?" when unknown
void print_backtrace(const uintptr_t *pcs, unsigned n);	// one klog line each
void arch_print_registers(void);		// of the trap that this CPU is in, if any (for panic)
