// SPDX-License-Identifier: MIT
// The instructions of a program on the host: records in user memory, which user.c fetches and executes.
#pragma once
#include "kernel/types.h"

enum user_opcode {
	OP_READ = 1,		// acc = the 8 bytes at a
	OP_WRITE,		// the 8 bytes at a = value
	OP_STORE,		// the 8 bytes at a = acc
	OP_ADD,			// the 4 bytes at a += value, atomically; acc = what was there
	OP_SET,			// acc = value
	OP_ARG,			// acc = arg
	OP_CALL,		// system call `value`, with args; those in acc_args are acc
	OP_JUMP,		// to a
	OP_IF_EQ, OP_IF_NE,	// to a, if acc is, is not, value
	OP_COUNT,		// count = value
	OP_LOOP,		// one less; to a, unless count is 0 then
	OP_PAUSE,
	OP_RETURN,		// to the address at sp, which rises by 8
	OP_TRAP,		// an undefined instruction, as every other number is
};

#define USER_OP_SIZE 128
struct user_op {
	u32 opcode;
	u32 acc_args;		// bit i: args[i]
	u64 a, value;
	u64 args[6];
} __aligned(8);
_Static_assert(sizeof(struct user_op) <= USER_OP_SIZE, "the next one begins there");
