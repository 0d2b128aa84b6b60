// SPDX-License-Identifier: MIT
// Threads of a program: creation and end. (A new process, fork's, is none of these.)
#include "sys/syscall.h"
#include <arch/uaccess.h>

enum {
	CLONE_VM = 0x100, CLONE_FS = 0x200, CLONE_FILES = 0x400, CLONE_SIGHAND = 0x800, CLONE_PTRACE = 0x2000,
	CLONE_THREAD = 0x10000, CLONE_SYSVSEM = 0x40000, CLONE_SETTLS = 0x80000, CLONE_PARENT_SETTID = 0x100000,
	CLONE_CHILD_CLEARTID = 0x200000, CLONE_DETACHED = 0x400000, CLONE_CHILD_SETTID = 0x1000000,
};
#define CLONE_KNOWN (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS | \
		     CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID | CLONE_DETACHED | CLONE_CHILD_SETTID)

struct clone_args {		// clone3's, as far as version 0 goes
	u64 flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
};
#define CLONE_ARGS_LONGEST 4096

// As Linux refuses them. What would be a process, or a thread in a namespace of its own, is not there yet: ENOSYS.
static int check_flags(u64 flags)
{
	if ((flags & CLONE_SIGHAND) && !(flags & CLONE_VM))
		return -EINVAL;
	if ((flags & CLONE_THREAD) && !(flags & CLONE_SIGHAND))
		return -EINVAL;
	return flags & CLONE_THREAD && !(flags & ~(u64)CLONE_KNOWN) ? 0 : -ENOSYS;
}

static int set_up(struct task *t, struct task *parent, const struct clone_args *a)
{
	if (!arch_user_copy(&t->user, &parent->user))
		return -ENOMEM;
	if (a->stack)
		arch_user_set_sp(&t->user, a->stack + a->stack_size);
	if ((a->flags & CLONE_SETTLS) && arch_user_set_tls(&t->user, a->tls))
		return -EPERM;
	if (a->flags & CLONE_CHILD_CLEARTID)
		t->clear_tid = a->child_tid;
	return 0;
}

// Before the child runs. The two share their memory, so it need not store its number itself. A bad address is no error, as
// on Linux.
static void store_tid(const struct task *t, const struct clone_args *a)
{
	if (a->flags & CLONE_PARENT_SETTID)
		copy_out(a->parent_tid, &t->tid, sizeof(t->tid));
	if (a->flags & CLONE_CHILD_SETTID)
		copy_out(a->child_tid, &t->tid, sizeof(t->tid));
}

static s64 clone_thread(struct task *parent, const struct clone_args *a)
{
	int err = check_flags(a->flags);
	struct task *t;
	u32 tid;

	if (err)
		return err;
	t = task_create(parent->process, parent);
	if (!t)
		return -ENOMEM;
	tid = t->tid;
	err = set_up(t, parent, a);
	if (!err) {
		store_tid(t, a);
		err = task_start(t);
	}
	if (err) {
		task_discard(t);
		return err;
	}
	return tid;			// t may have ended already
}

// Flags beyond the lower half are clone3's alone: here Linux does not look at them.
static s64 sys_clone(struct task *t, const u64 a[6])
{
	struct clone_args args = {
		.flags = (u32)a[0] & ~0xffu, .stack = a[1], .parent_tid = a[2], .child_tid = a[3], .tls = a[4],
	};

	return clone_thread(t, &args);
}
SYSCALL(56, clone, sys_clone);

static s64 sys_clone3(struct task *t, const u64 a[6])
{
	struct clone_args args;
	u64 size = a[1];

	if (size > CLONE_ARGS_LONGEST)
		return -E2BIG;
	if (size < sizeof(args))
		return -EINVAL;
	for (u64 i = sizeof(args); i < size; i += sizeof(u64)) {	// what later versions added must be unused
		u64 word = 0;

		if (copy_in(&word, a[0] + i, MIN(sizeof(word), size - i)))
			return -EFAULT;
		if (word)
			return -E2BIG;
	}
	if (copy_in(&args, a[0], sizeof(args)))
		return -EFAULT;
	if ((args.flags & (CLONE_DETACHED | 0xff)) || (args.flags & CLONE_THREAD && args.exit_signal) ||
	    !args.stack != !args.stack_size)
		return -EINVAL;
	return clone_thread(t, &args);
}
SYSCALL(435, clone3, sys_clone3);

static s64 sys_exit(struct task *t, const u64 a[6])
{
	task_exit(t, (int)a[0]);
	return 0;
}
SYSCALL(60, exit, sys_exit);

static s64 sys_exit_group(struct task *t, const u64 a[6])
{
	process_end(t->process, ((int)a[0] & 0xff) << 8);
	return 0;
}
SYSCALL(231, exit_group, sys_exit_group);

enum { ARCH_SET_GS = 0x1001, ARCH_SET_FS, ARCH_GET_FS, ARCH_GET_GS };

static s64 sys_arch_prctl(struct task *t, const u64 a[6])
{
	u64 v;

	switch (a[0]) {
	case ARCH_SET_FS:
		return arch_user_set_tls(&t->user, a[1]);
	case ARCH_SET_GS:
		return arch_user_set_gs(&t->user, a[1]);
	case ARCH_GET_FS:
		v = arch_user_tls(&t->user);
		return copy_out(a[1], &v, sizeof(v));
	case ARCH_GET_GS:
		v = arch_user_gs(&t->user);
		return copy_out(a[1], &v, sizeof(v));
	default:
		return -EINVAL;
	}
}
SYSCALL(158, arch_prctl, sys_arch_prctl);

// Restartable sequences are optional: a C library does without when this says so. (Registered, so that it is not named as
// a call that is missing.)
static s64 sys_rseq(struct task *t, const u64 a[6]) { return -ENOSYS; }
SYSCALL(334, rseq, sys_rseq);
