// SPDX-License-Identifier: MIT
// Accesses that may fault: the handler jumps back out of the access.
#include "user/common/fault.h"
#include "user/common/check.h"
#include <setjmp.h>
#include <signal.h>

static _Thread_local sigjmp_buf back;
static _Thread_local volatile bool armed;
static _Thread_local struct fault last;

static void on_fault(int number, siginfo_t *info, void *context)
{
	(void)context;
	last = (struct fault){ .signal = number, .code = info->si_code, .addr = (uintptr_t)info->si_addr };
	if (!armed) {
		say("FAILED: an unexpected fault: %s", fault_name(last));
		_exit(1);
	}
	armed = false;
	siglongjmp(back, 1);
}

// SA_NODEFER: the jump restores no mask, which would be a system call for each access.
void faults_catch(void)
{
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK };

	CHECK(!sigaction(SIGSEGV, &action, NULL));
	CHECK(!sigaction(SIGBUS, &action, NULL));
}

#define GUARDED(access) do { \
	last = (struct fault){ 0 }; \
	if (!sigsetjmp(back, 0)) { \
		armed = true; \
		access; \
		armed = false; \
	} \
	return last; \
} while (0)

struct fault fault_read(const volatile void *p, uint64_t *value) { GUARDED(*value = *(const volatile uint64_t *)p); }
struct fault fault_write(volatile void *p, uint64_t value) { GUARDED(*(volatile uint64_t *)p = value); }
struct fault fault_call(const void *p) { GUARDED(((void (*)(void))(uintptr_t)p)()); }

const char *fault_name(struct fault f)
{
	if (f.signal == SIGSEGV)
		return f.code == SEGV_MAPERR ? "SIGSEGV MAPERR" : f.code == SEGV_ACCERR ? "SIGSEGV ACCERR" :
		       f.code == SI_KERNEL ? "SIGSEGV KERNEL" : "SIGSEGV";
	return f.signal ? signal_name(f.signal) : "none";
}
