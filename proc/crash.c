// SPDX-License-Identifier: MIT
// The end of a program by a signal, for whoever looks at the console:
//
//   # ERROR: list: SIGSEGV at 0x401b2c push_back+0x1c: write of 0x10, not mapped (thread 3)
#include "proc/crash.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "proc/signal.h"
#include "proc/symbols.h"
#include "proc/task.h"

#define NAME_MAX 255		// symbol_in_file()
#define WHERE_MAX (NAME_MAX + 48)
#define WHAT_MAX 128

// What the processor found, where that is not a page fault.
static const struct { u8 signal, code; const char *text; } traps[] = {
	{ SIGFPE, FPE_INTDIV, "division by zero or overflow of a division" },
	{ SIGFPE, FPE_FLTDIV, "floating-point division by zero" },
	{ SIGFPE, FPE_FLTOVF, "floating-point overflow" },
	{ SIGFPE, FPE_FLTUND, "floating-point underflow" },
	{ SIGFPE, FPE_FLTRES, "inexact floating-point result" },
	{ SIGFPE, FPE_FLTINV, "invalid floating-point operation" },
	{ SIGILL, ILL_ILLOPN, "invalid instruction" },
	{ SIGTRAP, SI_KERNEL, "breakpoint" },
	{ SIGTRAP, TRAP_BRKPT, "breakpoint" },
	{ SIGTRAP, TRAP_TRACE, "single step" },
	{ SIGBUS, BUS_ADRALN, "unaligned access" },
	{ SIGBUS, SI_KERNEL, "stack address that is not canonical" },
	{ SIGSEGV, SI_KERNEL, "protection fault" },
};

static const char *trap_text(const struct task *t, const struct user_siginfo *info)
{
	if (info->signo == SIGSEGV && info->code == SI_KERNEL && t->signals.why)
		return t->signals.why;
	for (unsigned i = 0; i < ARRAY_SIZE(traps); i++)
		if (traps[i].signal == info->signo && traps[i].code == info->code)
			return traps[i].text;
	return "trap";
}

// A signal of the kernel's: was it the processor's doing?
static bool is_page_fault(const struct task *t, const struct user_siginfo *info)
{
	const struct user_fault *f = &t->signals.fault;

	return info->signo == SIGSEGV && info->code != SI_KERNEL && f->trap && !f->signal &&
	       info->fault.addr == f->addr;
}

static void say_what(char *buf, const struct task *t, const struct user_siginfo *info, u32 unhandled)
{
	const struct user_fault *f = &t->signals.fault;
	int n;

	if (info->code <= SI_USER) {
		ksnprintf(buf, WHAT_MAX, "sent by process %d", info->from.pid);
		return;
	}
	if (is_page_fault(t, info))
		n = ksnprintf(buf, WHAT_MAX, "%s of 0x%llx%s", f->exec ? "execution" : f->write ? "write" : "read",
			      (unsigned long long)f->addr,
			      info->code == SEGV_ACCERR ? " against its permissions" : ", not mapped");
	else
		n = ksnprintf(buf, WHAT_MAX, "%s", trap_text(t, info));
	if (unhandled)
		ksnprintf(buf + n, WHAT_MAX - (size_t)n, "; no room for its handler's frame below 0x%llx",
			  (unsigned long long)arch_user_sp(&t->user));
}

static void say_where(char *buf, const struct task *t)
{
	const struct process *p = t->process;
	vaddr_t pc = arch_user_pc(&t->user);
	u64 offset;
	const char *name = p->file ? symbol_in_file(p->file, p->file_size, pc - p->bias, &offset) : NULL;
	int n = ksnprintf(buf, WHERE_MAX, "0x%llx", (unsigned long long)pc);

	if (name)
		ksnprintf(buf + n, WHERE_MAX - (size_t)n, " %s+0x%llx", name, (unsigned long long)offset);
}

// Those for which Linux writes a core file.
static bool may_be_a_bug(u32 signo)
{
	return signo == SIGQUIT || signo == SIGILL || signo == SIGTRAP || signo == SIGABRT || signo == SIGFPE ||
	       signo == SIGSEGV || signo == SIGBUS || signo == SIGSYS || signo == SIGXCPU || signo == SIGXFSZ;
}

void crash_print(struct task *t, const struct user_siginfo *info, unsigned unhandled)
{
	char name[SIGNAL_NAME_MAX], what[WHAT_MAX], where[WHERE_MAX];

	say_what(what, t, info, unhandled);
	say_where(where, t);
	log_error("%s: %s at %s: %s (thread %u)", t->process->name, signal_name((u32)info->signo, name), where, what,
		  t->tid);
	if (may_be_a_bug((u32)info->signo))
		arch_user_print(&t->user);
}
