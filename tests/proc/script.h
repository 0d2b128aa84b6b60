// SPDX-License-Identifier: MIT
// Programs for tests: scripts of a few instructions, the same on each architecture, which script_load() puts into user
// memory (arch's own files encode them). A jump names the instruction's number in its script.
#pragma once
#include "kernel/types.h"

enum script_op {
	SCRIPT_READ, SCRIPT_WRITE, SCRIPT_STORE, SCRIPT_ADD, SCRIPT_SET, SCRIPT_ARG, SCRIPT_CALL, SCRIPT_JUMP,
	SCRIPT_IF_EQ, SCRIPT_IF_NE, SCRIPT_COUNT, SCRIPT_LOOP, SCRIPT_PAUSE, SCRIPT_RETURN, SCRIPT_TRAP,
};

struct instruction {
	enum script_op op;
	u64 a, value;
	u64 args[6];
	u32 acc_args;
};

#define READ(va) { .op = SCRIPT_READ, .a = (va) }			// acc = the 8 bytes there
#define WRITE(va, v) { .op = SCRIPT_WRITE, .a = (va), .value = (v) }	// 8 bytes
#define STORE(va) { .op = SCRIPT_STORE, .a = (va) }			// acc goes there, 8 bytes
#define ADD(va, v) { .op = SCRIPT_ADD, .a = (va), .value = (u32)(v) }	// 4 bytes, atomically; acc = what was there
#define SET(v) { .op = SCRIPT_SET, .value = (v) }			// acc
#define ARG() { .op = SCRIPT_ARG }					// acc = what a signal's handler is called with
#define CALL(nr, ...) { .op = SCRIPT_CALL, .value = (nr), .args = { __VA_ARGS__ } }	// acc = its result
// One argument of which is acc.
#define CALL_ACC(nr, which, ...) \
	{ .op = SCRIPT_CALL, .value = (nr), .args = { __VA_ARGS__ }, .acc_args = 1u << (which) }
#define JUMP(to) { .op = SCRIPT_JUMP, .a = (to) }
#define IF_EQ(v, to) { .op = SCRIPT_IF_EQ, .a = (to), .value = (v) }	// if acc is v
#define IF_NE(v, to) { .op = SCRIPT_IF_NE, .a = (to), .value = (v) }
#define COUNT(n) { .op = SCRIPT_COUNT, .value = (n) }			// so often
#define LOOP(to) { .op = SCRIPT_LOOP, .a = (to) }
#define PAUSE() { .op = SCRIPT_PAUSE }
#define RETURN() { .op = SCRIPT_RETURN }				// to the address on the stack
#define TRAP() { .op = SCRIPT_TRAP }					// SIGILL

#define SCRIPT_SIZE 128		// bytes an instruction
#define SCRIPT_AT(at, i) ((at) + (u64)(i) * SCRIPT_SIZE)
// The instruction, to stand at `at`, of a script that begins at `start`.
void script_encode(u8 code[SCRIPT_SIZE], const struct instruction *i, vaddr_t at, vaddr_t start);
// Into memory that the calling thread's space has there, writable and executable. 0 or -EFAULT.
int script_load(vaddr_t start, const struct instruction *script, unsigned n);
