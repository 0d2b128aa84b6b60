// SPDX-License-Identifier: MIT
// Backtraces by frame pointers, and names from the program's own symbol table (dladdr knows no static functions).
#include <elf.h>
#include "kernel/lib.h"
#include "kernel/log.h"
#include <arch/irq.h>
#include <arch/machine.h>
#include <arch/thread.h>
#include "arch/host/host.h"
#include "arch/host/os.h"

struct frame {
	const struct frame *next;
	uintptr_t ret;
};

// A chain ends where it leaves the stack: libc's own frames keep no frame pointer.
static unsigned unwind(const struct frame *f, uintptr_t *out, unsigned max)
{
	unsigned n = 0;

	while (f && !((uintptr_t)f % sizeof(void *)) && n < max && f->ret) {
		out[n++] = f->ret;
		if (f->next <= f || (uintptr_t)f->next - (uintptr_t)f > KSTACK_SIZE)
			break;
		f = f->next;
	}
	return n;
}

// Interrupts are calls here, crossed like any other. A fatal signal is not: its handler has a stack of its own, and
// what led to the fault is what counts.
unsigned arch_backtrace(uintptr_t *out, unsigned max)
{
	const struct frame *fault = (const struct frame *)host_this(host_irq)->fault;

	return unwind(fault ?: __builtin_frame_address(0), out, max);
}

unsigned arch_backtrace_interrupted(uintptr_t *out, unsigned max)
{
	return unwind((const struct frame *)host_this(host_irq)->interrupted, out, max);
}

unsigned arch_backtrace_asleep(const struct thread *t, uintptr_t *out, unsigned max) { return 0; }

void arch_print_registers(void) { }	// fault() in machine.c has said where

static const Elf64_Sym *symbols;
static const char *names;
static size_t nr_symbols;
static uintptr_t bias;

void host_symbols_init(void)
{
	size_t size;
	const char *image = os_map_self(&size);
	const Elf64_Ehdr *eh = (const void *)image;
	const Elf64_Shdr *sh;

	if (!image || size < sizeof(*eh) || eh->e_shoff > size || (size - eh->e_shoff) / sizeof(*sh) < eh->e_shnum)
		return;
	sh = (const void *)(image + eh->e_shoff);
	for (unsigned i = 0; i < eh->e_shnum; i++)
		if (sh[i].sh_type == SHT_SYMTAB && sh[i].sh_link < eh->e_shnum) {
			symbols = (const void *)(image + sh[i].sh_offset);
			nr_symbols = sh[i].sh_size / sizeof(*symbols);
			names = image + sh[sh[i].sh_link].sh_offset;
		}
	bias = os_load_bias();
}

const char *symbol_name(uintptr_t addr, u64 *offset)
{
	for (size_t i = 0; i < nr_symbols; i++) {
		const Elf64_Sym *s = &symbols[i];

		if (ELF64_ST_TYPE(s->st_info) == STT_FUNC && addr - bias - s->st_value < s->st_size) {
			*offset = addr - bias - s->st_value;
			return names + s->st_name;
		}
	}
	*offset = addr;
	return "?";
}

void print_backtrace(const uintptr_t *pcs, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		u64 offset;
		const char *name = symbol_name(pcs[i] - 1, &offset);	// -1: a call may be the last instruction

		log_error("  %s+0x%llx", name, (unsigned long long)offset + 1);
	}
}
