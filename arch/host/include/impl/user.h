// SPDX-License-Identifier: MIT
// A program's thread, seen from the processor: a small machine, whose instructions stand in arch/host/user.h.
#pragma once

struct user_registers {
	u64 pc, sp;
	u64 acc;		// what was read last, or the last system call's result
	u64 count;		// of the loop
	u64 arg;		// of a signal's handler: the signal's number
	u64 nr;			// the next system call's, by arch_user_restart_as(); USER_OWN_NR: what the instruction says
};

struct user_context {
	struct user_registers r;
	u64 call_nr, call_args[6];	// of the call that it is in
	u64 call_pc;			// where that was made
	u64 tls, gs;
	u32 work;
	struct user_fault fault;
};

static __always_inline u64 arch_user_call(const struct user_context *c, u64 args[6])
{
	for (unsigned i = 0; i < 6; i++)
		args[i] = c->call_args[i];
	return c->call_nr;
}
static __always_inline void arch_user_set_result(struct user_context *c, s64 result) { c->r.acc = (u64)result; }
