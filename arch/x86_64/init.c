// SPDX-License-Identifier: MIT
// From the entry code to kernel_main(): a console, traps, what the loader says, the kernel's own page tables.
#include "arch/x86_64/bootinfo.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/fwcfg.h"
#include "arch/x86_64/gdt.h"
#include "arch/x86_64/idt.h"
#include "arch/x86_64/kmap.h"
#include "arch/x86_64/memmap.h"
#include "arch/x86_64/multiboot2_parse.h"
#include "arch/x86_64/program.h"
#include "arch/x86_64/screen.h"
#include "arch/x86_64/serial.h"
#include "arch/x86_64/start_info_parse.h"
#include "arch/x86_64/xen.h"
#include "arch/x86_64/xen_console.h"
#include "kernel/log.h"
#include "kernel/panic.h"
#include <arch/machine.h>
#include <arch/percpu.h>

// entry.asm: which loader, and the physical address of what it left
extern const u32 boot_loader_magic, boot_loader_info;
static const char *override_line = "";
static size_t override_len;

static _Noreturn void refuse(const char *why)
{
	log_error("%s", why);
	kernel_exit(EXIT_BAD_INPUT);
}

static const char *read_start_info(void)
{
	const char *error = start_info_parse(phys_to_virt(0), FIRST_TABLES_MAP, boot_loader_info, &boot_info);

	if (error || boot_info.nr_memory || xen_memory_map(&boot_info))
		return error;
	return "no memory map in start_info, and no hypervisor that gives one";
}

static const char *read_multiboot2(void)
{
	u64 left = FIRST_TABLES_MAP - boot_loader_info;

	return multiboot2_parse(phys_to_virt(boot_loader_info), MIN(left, MULTIBOOT2_MAX), &boot_info);
}

static void read_boot_information(void)
{
	const char *error = boot_loader_magic == START_INFO_MAGIC ? read_start_info() : read_multiboot2();

	if (error)
		refuse(error);
}

void arch_init_early(void)
{
	percpu_offset[0] = this_cpu_read(this_cpu_offset);
	xen_init();
	serial_init();
	idt_init();
	gdt_load(0);
	idt_load();
	override_line = fwcfg_cmdline(&override_len);	// before anything is refused: hold.c depends on it
	read_boot_information();
	screen_init();
	ram_init();
	kmap_init();
	arch_cpu_setup(0);
	xen_console_map();
	screen_map();
	program_take();		// all RAM is mapped, and none is handed out yet
}

const char *arch_cmdline_boot(void) { return boot_info.cmdline; }
const char *arch_cmdline_override(void) { return override_line; }
size_t arch_cmdline_override_len(void) { return override_len; }
const char *arch_firmware(void) { return boot_info.pvh ? "pvh" : boot_info.uefi ? "uefi" : "bios"; }
