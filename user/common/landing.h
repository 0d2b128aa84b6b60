// SPDX-License-Identifier: MIT
// Code that ends in a signal, of whatever kind, and with whatever in the registers but FS: what the signal said, and
// back to the caller. Threads land independently of each other.
#pragma once
#include <stdint.h>

struct landed {
	int signal;		// 0: the code has returned
	int code;		// si_code
	uintptr_t addr;		// si_addr
	uintptr_t pc, flags;	// where it was
};

void landing_prepare(void);	// each thread, before its first landing_try()
struct landed landing_try(void (*code)(void *), void *arg);
// "returned", or "SIGSEGV KERNEL" …. Valid until the thread's next call.
const char *landed_name(struct landed l);
