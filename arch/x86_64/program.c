// SPDX-License-Identifier: MIT
// Where the program for mode=run comes from: QEMU's fw_cfg device, or else the first file that the boot loader has
// read; and its arguments: the same device, or else that file's command line. What cannot be taken is an error of
// mode=run only, because any other mode may have boot modules, too.
#include "arch/x86_64/program.h"
#include "arch/x86_64/bootinfo.h"
#include "arch/x86_64/fwcfg.h"
#include "arch/x86_64/memmap.h"
#include "kernel/string.h"
#include <arch/machine.h>
#include <arch/pte.h>

#define PROGRAM_MAX (64u << 20)		// by fw_cfg, where we find the memory
#define ARGS_SIZE 4097			// one more than args_split() accepts, so that a longer line is an error there

static const void *bytes;
static u64 size;
static const char *error;
static char fwcfg_args[ARGS_SIZE];
static const char *args = fwcfg_args;

static void take_args(void)
{
	size_t n = fwcfg_read_line("opt/quiesce/args", fwcfg_args, sizeof(fwcfg_args));

	if (strlen(fwcfg_args) != n)
		error = "program: a zero in the arguments";
	else if (!n)
		args = boot_info.module_line;
}

// RAM of its own: the page allocator has no blocks of any length. At most half of what there is, because the program
// will be copied into its space.
static void take_from_fwcfg(const struct fwcfg_file *f)
{
	paddr_t at;

	if (!f->size)
		error = "program: an empty file";
	else if (f->size > PROGRAM_MAX)
		error = "program: larger than 64 MiB";
	else if (f->size > arch_ram_bytes() / 2 || !(at = ram_take_range(f->size)))
		error = "program: not enough RAM";
	if (error)
		return;
	fwcfg_read(f, at, f->size);
	bytes = phys_to_virt(at);
	size = f->size;
}

// It stays where it is: ram_init() has set it aside.
static void take_module(const struct memory_range *m)
{
	if (m->start >= m->end)
		error = "program: an empty file";
	else if (!ram_is_mapped(m->start, m->end))
		error = "program: the boot loader has put it where the memory map has no RAM";
	if (error)
		return;
	bytes = phys_to_virt(m->start);
	size = m->end - m->start;
}

void program_take(void)
{
	struct fwcfg_file f;

	take_args();
	if (error)
		return;
	if (fwcfg_find("opt/quiesce/program", &f))
		take_from_fwcfg(&f);
	else if (boot_info.nr_modules)
		take_module(&boot_info.modules[0]);
}

const void *arch_program(u64 *n)
{
	*n = size;
	return bytes;
}

const char *arch_program_error(void) { return error; }
const char *arch_program_args(void) { return args; }
