// SPDX-License-Identifier: MIT
// What of a thread is saved in its descriptor.
#pragma once

struct arch_context {
	u64 sp;			// callee-saved registers lie on the stack
	// For the sanitizers, which follow switches only when told.
	void *fiber, *fake_stack;
	const void *bottom;
	size_t size;
};

#define KSTACK_SIZE (64 * 1024)	// libc and the sanitizers want more room than the kernel
