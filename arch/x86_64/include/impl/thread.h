// SPDX-License-Identifier: MIT
// What of a thread is saved in its descriptor.
#pragma once

struct arch_context {
	u64 rsp;	// callee-saved registers lie on the stack
};

#define KSTACK_SIZE (16 * 1024)
