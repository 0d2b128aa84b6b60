// SPDX-License-Identifier: MIT
// clone() and clone3() by hand: the child comes back on another stack, so nothing of the caller's frame is there.
#include "user/common/raw_thread.h"

// What both calls do after SYSCALL. Callee-saved registers carry function and argument, because the kernel gives the child
// its maker's registers.
#define CHILD \
	"test %%rax, %%rax\n\t" \
	"jnz 1f\n\t" \
	"xor %%ebp, %%ebp\n\t" \
	"mov %%r13, %%rdi\n\t" \
	"call *%%r12\n\t" \
	"xor %%edi, %%edi\n\t" \
	"mov %[exit], %%eax\n\t" \
	"syscall\n\t" \
	"ud2\n" \
	"1:"

long raw_clone(const struct clone_arguments *args, void (*function)(void *), void *arg)
{
	register uint64_t r8 __asm__("r8") = args->tls, r10 __asm__("r10") = args->child_tid;
	register void (*r12)(void *) __asm__("r12") = function;
	register void *r13 __asm__("r13") = arg;
	long result;

	__asm__ volatile("syscall\n\t" CHILD
			 : "=a"(result)
			 : "0"((long)SYS_clone), "D"(args->flags), "S"(args->stack + args->stack_size), "d"(args->parent_tid),
			   "r"(r8), "r"(r10), "r"(r12), "r"(r13), [exit] "i"(SYS_exit)
			 : "rcx", "r11", "memory");
	return result;
}

long raw_clone3(const struct clone_arguments *args, void (*function)(void *), void *arg)
{
	register void (*r12)(void *) __asm__("r12") = function;
	register void *r13 __asm__("r13") = arg;
	long result;

	__asm__ volatile("syscall\n\t" CHILD
			 : "=a"(result)
			 : "0"((long)SYS_clone3), "D"(args), "S"(sizeof(*args)), "r"(r12), "r"(r13), [exit] "i"(SYS_exit)
			 : "rcx", "rdx", "r8", "r9", "r10", "r11", "memory");
	return result;
}
