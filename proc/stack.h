// SPDX-License-Identifier: MIT
// What a program finds on its stack when it starts (psABI x86-64, 3.4.1, and what Linux adds).
#pragma once
#include "proc/load.h"

// The last page stays empty: SYSCALL as its last instruction would return to an address beyond the user half.
#define STACK_TOP (USER_END - PAGE_SIZE)
#define STACK_SIZE (8ull << 20)			// RLIMIT_STACK
#define STACK_GAP (1ull << 20)			// below the limit: mapped by nobody, so that an overrun is a fault

struct stack_contents {
	unsigned argc, envc;
	const char *const *argv, *const *envp;
	const char *path;		// AT_EXECFN
	const struct program *program;
	u8 random[16];			// AT_RANDOM
	bool executable;		// elf_image.executable_stack
};

// Map the stack of s, and lay down what the program finds there. *sp, a multiple of 16, points to argc. -E2BIG: a
// string of more than 128 KiB, or more than a quarter of the stack's size in all; then nothing is mapped. Otherwise as
// program_load(), also as to who may call it.
int stack_build(struct space *s, const struct stack_contents *c, vaddr_t *sp);
