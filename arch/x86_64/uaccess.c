// SPDX-License-Identifier: MIT
// User memory from the kernel: accessors, each one instruction that may fault, listed in the section `extable`.
// An interrupt while user memory is open closes it and, by its IRET, opens it again (traps.c).
#include "arch/x86_64/uaccess.h"
#include "arch/x86_64/cpu.h"
#include "kernel/errno.h"
#include "kernel/thread.h"
#include <arch/pte.h>
#include <arch/uaccess.h>

extern const struct extable_entry __start_extable[], __stop_extable[];

const struct extable_entry *extable_find(u64 rip)
{
	for (const struct extable_entry *e = __start_extable; e < __stop_extable; e++)
		if (e->rip == rip)
			return e;
	return NULL;
}

// A CPU whose thread has no space may be in lazy TLB mode, with a stale TLB: an unmap does not flush it because it
// touches no user address. The current thread and the root change together with interrupts off, so the answer holds
// until the access.
static __always_inline bool no_user_memory(vaddr_t va, size_t n) { return !current->space || va > USER_END - n; }

#define EXTABLE(may_fault_in) \
	".pushsection extable, \"a\"\n\t" \
	".balign 8\n\t" \
	".quad 1b, 2b, " #may_fault_in "\n\t" \
	".popsection\n"

#define DEFINE_READ(name, may_fault_in) \
int name(vaddr_t va, u64 *out) \
{ \
	int error = -EFAULT; \
	u64 v = 0; \
\
	if (no_user_memory(va, sizeof(u64))) \
		return error; \
	user_memory_open(); \
	__asm__ volatile("1:\tmovq (%2), %1\n\t" \
			 "xorl %0, %0\n" \
			 "2:\n\t" EXTABLE(may_fault_in) \
			 : "+r"(error), "+r"(v) : "r"(va) : "memory", "cc"); \
	user_memory_close(); \
	*out = v; \
	return error; \
}

#define DEFINE_WRITE(name, may_fault_in) \
int name(vaddr_t va, u64 v) \
{ \
	int error = -EFAULT; \
\
	if (no_user_memory(va, sizeof(u64))) \
		return error; \
	user_memory_open(); \
	__asm__ volatile("1:\tmovq %1, (%2)\n\t" \
			 "xorl %0, %0\n" \
			 "2:\n\t" EXTABLE(may_fault_in) \
			 : "+r"(error) : "r"(v), "r"(va) : "memory", "cc"); \
	user_memory_close(); \
	return error; \
}

DEFINE_READ(arch_user_read64, 1)
DEFINE_READ(arch_user_read64_nofault, 0)
DEFINE_WRITE(arch_user_write64, 1)
DEFINE_WRITE(arch_user_write64_nofault, 0)

int arch_user_read32_nofault(vaddr_t va, u32 *out)
{
	int error = -EFAULT;
	u32 v = 0;

	if (no_user_memory(va, sizeof(u32)))
		return error;
	user_memory_open();
	__asm__ volatile("1:\tmovl (%2), %1\n\t"
			 "xorl %0, %0\n"
			 "2:\n\t" EXTABLE(0)
			 : "+r"(error), "+r"(v) : "r"(va) : "memory", "cc");
	user_memory_close();
	*out = v;
	return error;
}

int arch_user_cmpxchg32_nofault(vaddr_t va, u32 expected, u32 v, u32 *old)
{
	int error = -EFAULT;

	if (no_user_memory(va, sizeof(u32)))
		return error;
	user_memory_open();
	__asm__ volatile("1:\tlock cmpxchgl %3, (%2)\n\t"
			 "xorl %0, %0\n"
			 "2:\n\t" EXTABLE(0)
			 : "+r"(error), "+a"(expected) : "r"(va), "r"(v) : "memory", "cc");
	user_memory_close();
	*old = expected;
	return error;
}
