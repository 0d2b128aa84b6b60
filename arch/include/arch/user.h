// SPDX-License-Identifier: MIT
// Contract: user mode. The registers of a thread that runs programs lie in its context. arch_user_run() goes there and
// returns why user mode ended; what follows from that is proc/'s business.
#pragma once
#include "kernel/types.h"

enum user_exit {
	USER_CALL,		// a system call: arch_user_call()
	USER_FAULT,		// the program's fault: context.fault
	USER_INTERRUPT,		// an interrupt, already dealt with; or context.work was set
};

struct user_fault {
	u8 signal, code;	// what Linux makes of it: signal number and si_code; signal 0: a page fault
	bool write, exec;	// of a page fault; neither: a read
	bool from_call;		// not the processor's: the registers cannot be returned to
	vaddr_t addr;		// page fault: what was touched. Otherwise si_addr
	u64 trap, error;	// the processor's numbers, for the signal frame
};

#include <impl/user.h>	// struct user_context. Contract fields:
//	u32 work		somebody wants this thread: arch_user_run() returns at once. Looked at with interrupts off,
//				so a bit that is set atomically, before an interrupt for the thread's CPU, is not missed
//				Its bits are proc/'s, but for USER_WORK_EXIT
//	struct user_fault fault	after USER_FAULT
#define USER_WORK_EXIT 2u	// of work: the thread leaves user mode for good

// Registers of a new program; the FPU in its initial state. False: no memory.
bool arch_user_init(struct user_context *c, vaddr_t entry, vaddr_t stack);
// Those of the calling thread, which is inside a system call: in the copy the call returns 0.
bool arch_user_copy(struct user_context *to, struct user_context *from);
void arch_user_free(struct user_context *c);	// of a thread that does not run in it any more
// Run the calling thread in user mode. current->user == c; thread context, IRQs on, before and after.
enum user_exit arch_user_run(struct user_context *c);
// From the scheduler, IRQs off, when it leaves a thread that has a context: what the CPU holds of it goes to memory.
void arch_user_switched_out(struct user_context *c);

// The system call's number; its six arguments.
static __always_inline u64 arch_user_call(const struct user_context *c, u64 args[6]);
static __always_inline void arch_user_set_result(struct user_context *c, s64 result);
void arch_user_restart(struct user_context *c);		// the call is made again, with its number and arguments
// The same, but with another number (Linux's restart_syscall).
void arch_user_restart_as(struct user_context *c, u64 number);
vaddr_t arch_user_pc(const struct user_context *c);
vaddr_t arch_user_sp(const struct user_context *c);
void arch_user_set_sp(struct user_context *c, vaddr_t sp);
// The thread pointer (FS base): 0, or -EPERM: not an address of the user half, or of its last page. By the thread
// itself, or before it runs.
int arch_user_set_tls(struct user_context *c, vaddr_t base);
int arch_user_set_gs(struct user_context *c, vaddr_t base);	// x86's second one, the same
vaddr_t arch_user_tls(const struct user_context *c);
vaddr_t arch_user_gs(const struct user_context *c);

// Signals. What the frame on the program's stack holds, in Linux's layout; addr and value mean what the code says.
// A program reads every byte of them. So they have no padding, and `bytes` is the union's first member: an initializer that
// names no other clears it all, and the others are assigned.
#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wpadded"
struct user_siginfo {		// as Linux's siginfo_t: 128 bytes
	s32 signo, error, code, pad;
	union {
		u8 bytes[112];
		struct { s32 pid; u32 uid; u64 value; } from;	// kill, tgkill, sigqueue
		struct { vaddr_t addr; } fault;
	};
};
struct user_sigstack { vaddr_t sp; s32 flags, pad; u64 size; };	// as Linux's stack_t
#pragma GCC diagnostic pop
enum { USER_SS_ONSTACK = 1, USER_SS_DISABLE = 2 };
#define USER_SS_AUTODISARM (1u << 31)
static inline bool user_within_sigstack(const struct user_sigstack *k, vaddr_t sp)
{
	return sp > k->sp && sp - k->sp <= k->size;
}
static inline bool user_on_sigstack(const struct user_sigstack *k, vaddr_t sp)
{
	return !((u32)k->flags & USER_SS_AUTODISARM) && user_within_sigstack(k, sp);
}
struct user_signal {
	struct user_siginfo info;
	vaddr_t handler, restorer;
	u64 mask;			// to be restored by sigreturn
	bool use_stack;			// SA_ONSTACK: on the alternate stack, if there is one
	struct user_sigstack stack;	// the alternate stack
	struct user_fault fault;	// the last one that became a signal: later frames tell of it, too
	vaddr_t touched;		// the address of the last page fault among them
};
// Lay down the frame below the stack in use and its red zone, or on the alternate stack, and make the handler next to
// run, with the FPU in its initial state. -EFAULT: no room on the stack; nothing has changed. The calling thread's
// own context.
int arch_user_push_signal(struct user_context *c, const struct user_signal *s);
// rt_sigreturn: the registers from the frame at the stack pointer; what a program must not choose is forced. -EFAULT:
// the frame is not readable (nothing has changed), or its FPU state cannot be loaded (that is in its initial state
// then, all else has been taken over).
int arch_user_pop_signal(struct user_context *c, u64 *mask, struct user_sigstack *stack);
s64 arch_user_result(const struct user_context *c);	// the register in which a call returns its result

u64 arch_user_hwcap(void);		// AT_HWCAP
u64 arch_user_min_sigstack(void);	// AT_MINSIGSTKSZ
void arch_user_print(const struct user_context *c);	// the registers, one log line each: a crash
