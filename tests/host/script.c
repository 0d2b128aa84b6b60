// SPDX-License-Identifier: MIT
// Scripts as the host's processor executes them.
#include "tests/proc/script.h"
#include "arch/host/user.h"
#include "kernel/lib.h"

static const u32 opcodes[] = {
	[SCRIPT_READ] = OP_READ, [SCRIPT_WRITE] = OP_WRITE, [SCRIPT_STORE] = OP_STORE, [SCRIPT_ADD] = OP_ADD,
	[SCRIPT_SET] = OP_SET, [SCRIPT_ARG] = OP_ARG, [SCRIPT_CALL] = OP_CALL, [SCRIPT_JUMP] = OP_JUMP,
	[SCRIPT_IF_EQ] = OP_IF_EQ, [SCRIPT_IF_NE] = OP_IF_NE, [SCRIPT_COUNT] = OP_COUNT, [SCRIPT_LOOP] = OP_LOOP,
	[SCRIPT_PAUSE] = OP_PAUSE, [SCRIPT_RETURN] = OP_RETURN, [SCRIPT_TRAP] = OP_TRAP,
};
_Static_assert(SCRIPT_SIZE == USER_OP_SIZE, "an instruction is one record");

static bool jumps(enum script_op op)
{
	return op == SCRIPT_JUMP || op == SCRIPT_IF_EQ || op == SCRIPT_IF_NE || op == SCRIPT_LOOP;
}

void script_encode(u8 code[SCRIPT_SIZE], const struct instruction *i, vaddr_t at, vaddr_t start)
{
	struct user_op op = { .opcode = opcodes[i->op], .acc_args = i->acc_args, .a = i->a, .value = i->value };

	if (jumps(i->op))
		op.a = SCRIPT_AT(start, i->a);
	memcpy(op.args, i->args, sizeof(op.args));
	memset(code, 0, SCRIPT_SIZE);
	memcpy(code, &op, sizeof(op));
}
