// SPDX-License-Identifier: MIT
// Landing: the handler, on a stack of its own, jumps back.
#include "user/common/landing.h"
#include "user/common/check.h"
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

enum { STACK = 64 * 1024 };
static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS };

static _Thread_local sigjmp_buf back;
static _Thread_local volatile bool armed;
static _Thread_local struct landed last;

// Linux runs a handler with the alignment check and the nested-task flag as they were: off, first of all.
static inline void clear_flags(void)
{
	__asm__ volatile("lea -128(%%rsp), %%rsp; pushfq; andq $~0x44500, (%%rsp); popfq; "
		"lea 128(%%rsp), %%rsp" ::: "cc", "memory");
}

static void land(int number, siginfo_t *info, void *context)
{
	const greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;

	clear_flags();
	last = (struct landed){ number, info->si_code, (uintptr_t)info->si_addr, (uintptr_t)r[REG_RIP],
		(uintptr_t)r[REG_EFL] };
	if (!armed) {
		say("FAILED: an unexpected %s at %#lx, address %#lx", landed_name(last), last.pc, last.addr);
		_exit(1);
	}
	armed = false;
	siglongjmp(back, 1);
}

void landing_prepare(void)
{
	struct sigaction action = { .sa_sigaction = land, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK };
	stack_t stack = { .ss_sp = malloc(STACK), .ss_size = STACK };

	CHECK(stack.ss_sp && !sigaltstack(&stack, NULL));
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		CHECK(!sigaction(signals[i], &action, NULL));
}

struct landed landing_try(void (*code)(void *), void *arg)
{
	last = (struct landed){ 0 };
	if (!sigsetjmp(back, 0)) {
		armed = true;
		code(arg);
		armed = false;
	}
	return last;
}

struct code_name { int signal, code; const char *name; };
static const struct code_name codes[] = {
	{ SIGSEGV, SEGV_MAPERR, "MAPERR" }, { SIGSEGV, SEGV_ACCERR, "ACCERR" }, { SIGBUS, BUS_ADRALN, "ADRALN" },
	{ SIGILL, ILL_ILLOPN, "ILLOPN" }, { SIGTRAP, TRAP_BRKPT, "BRKPT" }, { SIGTRAP, TRAP_TRACE, "TRACE" },
	{ SIGFPE, FPE_INTDIV, "INTDIV" }, { SIGFPE, FPE_FLTDIV, "FLTDIV" }, { SIGFPE, FPE_FLTOVF, "FLTOVF" },
	{ SIGFPE, FPE_FLTUND, "FLTUND" }, { SIGFPE, FPE_FLTRES, "FLTRES" }, { SIGFPE, FPE_FLTINV, "FLTINV" },
};

const char *landed_name(struct landed l)
{
	static _Thread_local char text[48];
	const char *name = l.code == SI_KERNEL ? "KERNEL" : NULL;

	if (!l.signal)
		return "returned";
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
		if (codes[i].signal == l.signal && codes[i].code == l.code)
			name = codes[i].name;
	if (name)
		snprintf(text, sizeof(text), "%s %s", signal_name(l.signal), name);
	else
		snprintf(text, sizeof(text), "%s code %d", signal_name(l.signal), l.code);
	return text;
}
