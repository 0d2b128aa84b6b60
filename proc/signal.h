// SPDX-License-Identifier: MIT
// Signals: what is pending, who blocks what, and what a program has asked for.
//
// process.signals.lock guards all of it, the tasks' part too. A task's mask is changed by the task alone. The bit
// WORK_SIGNAL of a task is set and cleared under that lock: it is set if a signal is pending that the task does not
// block, so a blocked signal interrupts no wait. What is pending for the process is for any task that does not block
// it. One of them has been kicked; if that task blocks the signal or ends before it has taken it, it kicks another.
#pragma once
#include "kernel/list.h"
#include "kernel/mutex.h"
#include "kernel/spinlock.h"
#include "proc/signal_queue.h"
#include <arch/user.h>

struct process;
struct task;

enum {
	SIGHUP = 1, SIGINT, SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGKILL, SIGUSR1, SIGSEGV, SIGUSR2,
	SIGPIPE, SIGALRM, SIGTERM, SIGSTKFLT, SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGXCPU,
	SIGXFSZ, SIGVTALRM, SIGPROF, SIGWINCH, SIGIO, SIGPWR, SIGSYS, NR_SIGNALS = 64,
};
// si_code: where it came from, or what was wrong.
enum { SI_TKILL = -6, SI_USER = 0, SI_KERNEL = 0x80 };
enum { SEGV_MAPERR = 1, SEGV_ACCERR, BUS_ADRALN = 1, BUS_ADRERR, ILL_ILLOPN = 2, TRAP_BRKPT = 1, TRAP_TRACE };
enum { FPE_INTDIV = 1, FPE_INTOVF, FPE_FLTDIV, FPE_FLTOVF, FPE_FLTUND, FPE_FLTRES, FPE_FLTINV };

// Handlers that are none, and the flags of an action.
enum { SIG_DFL = 0, SIG_IGN = 1 };
#define SA_SIGINFO 0x4u
#define SA_RESTORER 0x04000000u
#define SA_ONSTACK 0x08000000u
#define SA_RESTART 0x10000000u
#define SA_NODEFER 0x40000000u
#define SA_RESETHAND 0x80000000u

struct signal_action {		// as Linux's struct sigaction of the kernel
	vaddr_t handler;
	u64 flags;
	vaddr_t restorer;
	u64 mask;
};

struct process_signals {
	struct spinlock lock;
	struct signal_action actions[NR_SIGNALS];
	struct signal_queue pending;	// for whichever task takes it
	u32 queued;			// entries of all queues of the process
	bool stopped;			// by SIGSTOP: no task returns to user mode
	u32 continued;			// times that SIGCONT or SIGKILL was sent
	struct waitq go_on;		// stopped tasks
	bool reported;			// the signal that ends it has been printed
};

struct task_signals {
	struct signal_queue pending;
	u64 blocked;			// bit n - 1: signal n
	u64 awaited;			// by rt_sigtimedwait(): these wake it though they are blocked
	u64 saved;			// the mask that rt_sigsuspend() has replaced
	bool restore_saved;
	bool returned;			// by rt_sigreturn(): the result register is the program's
	struct user_sigstack stack;
	struct user_fault fault;	// the last one that became a signal
	vaddr_t touched;		// the address of the last page fault among them
	const char *why;		// the last signal_force_segv(), since the last fault
	struct signal_entry fault_entry;	// so that a fault's signal needs no memory
};

void signals_init_process(struct process *p);
void signals_init_task(struct task *t, const struct task *parent);	// parent: whose mask it inherits, or NULL
// The task, which is no longer in process.tasks, will deliver nothing any more. process.lock is held.
void signals_end_task(struct task *t);
void signals_end_process(struct process *p);	// no task is left

// Send to a process, of which some task takes it: 0, or -EAGAIN (signal_queue_add()). Thread context; takes
// process.lock.
int signal_send(struct process *p, const struct user_siginfo *info);
// The same to one task; its process.lock is held.
int signal_send_task(struct task *t, const struct user_siginfo *info);
// The task's own fault: the signal cannot be blocked or ignored.
void signal_fault(struct task *t, const struct user_fault *f);
// SIGSEGV in the same way, for what only the kernel knows; `why` is for the line of a crash.
void signal_force_segv(struct task *t, const char *why);

// By the task itself.
void signal_set_blocked(struct task *t, u64 mask);	// but never SIGKILL and SIGSTOP. Takes process.lock
// -EPERM: `sp` is on the stack in use; -EINVAL; -ENOMEM: too small
int signal_set_stack(struct task *t, const struct user_sigstack *stack, vaddr_t sp);
// Take a pending signal of `set`, blocked or not: its number, or 0.
u32 signal_take(struct task *t, u64 set, struct user_siginfo *info);
// These are to wake the task though it blocks them; 0: no more. Takes process.lock.
void signal_await(struct task *t, u64 set);
u64 signal_pending(struct task *t);			// all that are, blocked or not
// 0, or -EINVAL. Either may be NULL.
int signal_set_action(struct process *p, u32 signo, const struct signal_action *action, struct signal_action *old);

// Before the task returns to user mode: deliver what is pending. `called`: it comes from a system call, whose result
// may be one of the ERESTART numbers.
void signal_deliver(struct task *t, bool called);

bool signal_is_ignored_by_default(u32 signo);
#define SIGNAL_NAME_MAX 24
const char *signal_name(u32 signo, char buf[SIGNAL_NAME_MAX]);
