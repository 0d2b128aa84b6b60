// SPDX-License-Identifier: MIT
// From a number to the function that was registered for it.
#include "sys/syscall.h"
#include "kernel/log.h"
#include "kernel/panic.h"

static syscall_fn *table[NR_SYSCALLS];
static u64 named[NR_SYSCALLS / 64];	// numbers without a function that have been named

void syscalls_init(void)
{
	FOR_EACH_REGISTERED(syscalls, const struct syscall, s) {
		BUG_ON((*s)->nr >= NR_SYSCALLS || (table[(*s)->nr] && table[(*s)->nr] != (*s)->fn));
		table[(*s)->nr] = (*s)->fn;
	}
}

static __noinline s64 unknown(struct task *t, u64 nr)
{
	if (nr < NR_SYSCALLS && !(fetch_or(&named[nr / 64], 1ull << nr % 64) >> nr % 64 & 1))
		log_warn("%s: system call %llu is not implemented: ENOSYS, said once", t->process->name,
			 (unsigned long long)nr);
	return -ENOSYS;
}

void syscall_run(struct task *t)
{
	u64 args[6], nr = (u32)arch_user_call(&t->user, args);	// Linux looks at the lower half only
	syscall_fn *fn = nr < NR_SYSCALLS ? table[nr] : NULL;

	arch_user_set_result(&t->user, likely(fn) ? fn(t, args) : unknown(t, nr));
}
