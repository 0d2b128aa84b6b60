// SPDX-License-Identifier: MIT
// Threads made by clone() and clone3() without a library. Such a thread shares its maker's thread-local storage: it
// must call no library function that uses it, so errno is not for it; bare_call() is.
#pragma once
#include "user/common/kernel.h"
#include <sched.h>
#include <stdint.h>

#define RAW_THREAD_FLAGS (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM)

// The thread's number, or a negative error number. The thread calls function(arg) on args->stack, then exit(0).
long raw_clone(const struct clone_arguments *args, void (*function)(void *), void *arg);
long raw_clone3(const struct clone_arguments *args, void (*function)(void *), void *arg);

static inline long bare_call(long number, long a, long b, long c, long d)
{
	register long r10 __asm__("r10") = d;
	long result;

	__asm__ volatile("syscall" : "=a"(result) : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
	return result;
}
