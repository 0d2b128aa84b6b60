// SPDX-License-Identifier: MIT
// Signals: what is pending, who blocks what, and what a program has asked for.
#pragma once
#include "kernel/list.h"
#include "kernel/spinlock.h"
#include <arch/user.h>

struct process;
struct task;

enum {
	SIGHUP = 1, SIGINT, SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGKILL, SIGUSR1, SIGSEGV, SIGUSR2, SIGPIPE,
	SIGALRM, SIGTERM, SIGSTKFLT, SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGXCPU, SIGXFSZ,
	SIGVTALRM, SIGPROF, SIGWINCH, SIGIO, SIGPWR, SIGSYS, NR_SIGNALS = 64,
};
// si_code: where it came from, or what was wrong.
enum { SI_TKILL = -6, SI_USER = 0, SI_KERNEL = 0x80 };
enum { SEGV_MAPERR = 1, SEGV_ACCERR, BUS_ADRALN = 1, ILL_ILLOPN = 2, TRAP_BRKPT = 1, TRAP_TRACE };
enum { FPE_INTDIV = 1, FPE_INTOVF, FPE_FLTDIV, FPE_FLTOVF, FPE_FLTUND, FPE_FLTRES, FPE_FLTINV };

struct signal_action {		// as Linux's struct sigaction of the kernel
	vaddr_t handler;
	u64 flags;
	vaddr_t restorer;
	u64 mask;
};

struct process_signals {
	struct spinlock lock;	// and the tasks' signals, too
	struct signal_action actions[NR_SIGNALS];
	u64 pending;		// for whichever task takes it
	struct user_siginfo info[NR_SIGNALS];	// of those pending
};

struct task_signals {
	u64 pending, blocked;	// bit n - 1: signal n
	u64 saved;		// the mask that rt_sigsuspend() has replaced
	bool restore_saved;
	struct user_sigstack stack;
	struct user_siginfo info[NR_SIGNALS];
};

void signals_init_process(struct process *p);
void signals_end_process(struct process *p);
void signals_init_task(struct task *t, const struct task *parent);	// parent: whose mask it inherits, or NULL
const char *signal_name(int signal);	// "SIGSEGV"
// The task's own fault: the signal cannot be blocked or ignored.
void signal_fault(struct task *t, const struct user_fault *f);
// Before the task returns to user mode: deliver what is pending. `called`: it comes from a system call, whose result may be
// one of the ERESTART numbers.
void signal_deliver(struct task *t, bool called);
