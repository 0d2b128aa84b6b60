// SPDX-License-Identifier: MIT
// User memory from the kernel. Each instruction that may fault is listed in the section `extable`. A page fault there
// that is served executes it again; a string instruction goes on where it was, because its registers say how far it has
// come. An interrupt while user memory is open closes it and, by its IRET, opens it again (traps.c).
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

// May [va, va + n) not be touched? A CPU whose thread has no space may be in lazy TLB mode, with a stale TLB: an unmap
// does not flush it because it touches no user address. The current thread and the root change together with interrupts
// off, so the answer holds until the access.
static __always_inline bool no_user_memory(vaddr_t va, size_t n)
{
	return !current->space || n > USER_END || va > USER_END - n;
}

#define EXTABLE(instruction, fixup, may_fault_in) \
	".pushsection extable, \"a\"\n\t" \
	".balign 8\n\t" \
	".quad " #instruction ", " #fixup ", " #may_fault_in "\n\t" \
	".popsection\n"

#define DEFINE_READ(name, type, mov, may_fault_in) \
int name(vaddr_t va, type *out) \
{ \
	int error = -EFAULT; \
	type v = 0; \
\
	if (no_user_memory(va, sizeof(v))) \
		return error; \
	user_memory_open(); \
	__asm__ volatile("1:\t" mov " (%2), %1\n\t" \
			 "xorl %0, %0\n" \
			 "2:\n\t" EXTABLE(1b, 2b, may_fault_in) \
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
	if (no_user_memory(va, sizeof(v))) \
		return error; \
	user_memory_open(); \
	__asm__ volatile("1:\tmovq %1, (%2)\n\t" \
			 "xorl %0, %0\n" \
			 "2:\n\t" EXTABLE(1b, 2b, may_fault_in) \
			 : "+r"(error) : "r"(v), "r"(va) : "memory", "cc"); \
	user_memory_close(); \
	return error; \
}

DEFINE_READ(arch_user_read32, u32, "movl", 1)
DEFINE_READ(arch_user_read32_nofault, u32, "movl", 0)
DEFINE_READ(arch_user_read64, u64, "movq", 1)
DEFINE_READ(arch_user_read64_nofault, u64, "movq", 0)
DEFINE_WRITE(arch_user_write64, 1)
DEFINE_WRITE(arch_user_write64_nofault, 0)

#define DEFINE_CMPXCHG32(name, may_fault_in) \
int name(vaddr_t va, u32 expected, u32 v, u32 *old) \
{ \
	int error = -EFAULT; \
\
	if (no_user_memory(va, sizeof(v))) \
		return error; \
	user_memory_open(); \
	__asm__ volatile("1:\tlock cmpxchgl %2, (%3)\n\t" \
			 "movl $0, %0\n" \
			 "2:\n\t" EXTABLE(1b, 2b, may_fault_in) \
			 : "+r"(error), "+a"(expected) : "r"(v), "r"(va) : "memory", "cc"); \
	user_memory_close(); \
	*old = expected; \
	return error; \
}

DEFINE_CMPXCHG32(arch_user_cmpxchg32, 1)
DEFINE_CMPXCHG32(arch_user_cmpxchg32_nofault, 0)

// Words, then what is left of a word, so that what calls mostly copy (8 to 64 bytes) takes few steps.
static __always_inline int copy(void *to, const void *from, size_t n)
{
	size_t count = n / sizeof(u64);
	int error = -EFAULT;

	user_memory_open();
	__asm__ volatile("1:\trep movsq\n\t"
			 "movl %4, %%ecx\n"
			 "2:\trep movsb\n\t"
			 "xorl %0, %0\n"
			 "3:\n\t" EXTABLE(1b, 3b, 1) EXTABLE(2b, 3b, 1)
			 : "+&r"(error), "+&D"(to), "+&S"(from), "+&c"(count)
			 : "r"((u32)(n % sizeof(u64))) : "memory", "cc");
	user_memory_close();
	return error;
}

int copy_in(void *to, vaddr_t from, size_t n)
{
	if (no_user_memory(from, n))
		return n ? -EFAULT : 0;
	return copy(to, (const void *)from, n);
}

int copy_out(vaddr_t to, const void *from, size_t n)
{
	if (no_user_memory(to, n))
		return n ? -EFAULT : 0;
	return copy((void *)to, from, n);
}

int clear_out(vaddr_t to, size_t n)
{
	size_t count = n / sizeof(u64);
	int error = -EFAULT;

	if (no_user_memory(to, n))
		return n ? -EFAULT : 0;
	user_memory_open();
	__asm__ volatile("1:\trep stosq\n\t"
			 "movl %3, %%ecx\n"
			 "2:\trep stosb\n\t"
			 "movl %%eax, %0\n"
			 "3:\n\t" EXTABLE(1b, 3b, 1) EXTABLE(2b, 3b, 1)
			 : "+&r"(error), "+&D"(to), "+&c"(count)
			 : "r"((u32)(n % sizeof(u64))), "a"(0) : "memory", "cc");
	user_memory_close();
	return error;
}

// Byte by byte: what follows the zero may not be there.
s64 copy_in_string(char *to, vaddr_t from, size_t size)
{
	size_t room = from < USER_END ? USER_END - from : 0, limit = MIN(size, room), length = 0;
	s64 error = -EFAULT;
	u8 c = 1;

	if (no_user_memory(from, limit))
		return error;
	if (limit) {
		user_memory_open();
		__asm__ volatile("1:\tmovb (%3, %1), %2\n\t"
				 "movb %2, (%4, %1)\n\t"
				 "testb %2, %2\n\t"
				 "jz 2f\n\t"
				 "incq %1\n\t"
				 "cmpq %5, %1\n\t"
				 "jb 1b\n"
				 "2:\txorl %k0, %k0\n"
				 "3:\n\t" EXTABLE(1b, 3b, 1)
				 : "+&r"(error), "+&r"(length), "+&q"(c)
				 : "r"(from), "r"(to), "r"(limit) : "memory", "cc");
		user_memory_close();
		if (error || !c)
			return error ? error : (s64)length;
	}
	return limit == size ? -ERANGE : -EFAULT;
}
