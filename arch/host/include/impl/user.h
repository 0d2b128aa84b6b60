// SPDX-License-Identifier: MIT
// A program's thread, seen from the processor: a machine of its own with a few registers, whose instructions are the
// records of <arch/host/user.h>, fetched and executed through the software MMU.
#pragma once

struct user_registers {
	u64 pc, sp;
	u64 acc;		// what was read last, or the last system call's result
	u64 count;		// of a loop
	u64 tls, gs;
};

struct user_context {
	struct user_registers r;
	u64 args[6], nr;	// of the system call that has been made
	u64 next_nr;		// arch_user_restart_as(): the number that the next call has; NO_NUMBER: its own
	u32 work;
	struct user_fault fault;
};
