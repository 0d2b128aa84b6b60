// SPDX-License-Identifier: MIT
// Per-CPU data: the template lies read-only in the image, CPU 0's copy in .bss, the others' in pages of their own. All
// are addressed through the direct map, so that each GS base is negative (by that the NMI entry knows the kernel's).
#include "arch/x86_64/percpu.h"
#include "arch/x86_64/stack.h"
#include "kernel/lib.h"
#include "mm/frame/page.h"
#include <arch/percpu.h>

extern char __start_percpu[], __stop_percpu[];

uintptr_t percpu_offset[NR_CPUS];
DEFINE_PER_CPU(uintptr_t, this_cpu_offset);
DEFINE_PER_CPU(u32, cpu_number);
static DEFINE_PER_CPU(void *, ist_stacks[NR_IST]);

u64 ist_stack_top(unsigned cpu, unsigned i)
{
	void *stack = cpu ? per_cpu(ist_stacks, cpu)[i] : boot_stacks[1 + i].stack;

	return (uintptr_t)stack + KSTACK_SIZE;
}

static bool alloc_cpu(unsigned cpu, size_t size)
{
	unsigned order = 0;
	struct page *p;

	while (PAGE_SIZE << order < size)
		order++;
	p = page_alloc(order, PAGE_KERNEL, PG_NOFAIL_INJECT);
	if (!p)
		return false;
	memcpy(page_to_virt(p), __start_percpu, size);
	percpu_offset[cpu] = (uintptr_t)page_to_virt(p) - (uintptr_t)__start_percpu;
	per_cpu(this_cpu_offset, cpu) = percpu_offset[cpu];
	per_cpu(cpu_number, cpu) = cpu;
	for (unsigned i = 0; i < NR_IST; i++)
		if (!(per_cpu(ist_stacks, cpu)[i] = arch_stack_alloc()))
			return false;
	return true;
}

bool percpu_alloc(unsigned n)
{
	for (unsigned cpu = 1; cpu < n; cpu++)
		if (!alloc_cpu(cpu, (size_t)(__stop_percpu - __start_percpu)))
			return false;
	return true;
}
