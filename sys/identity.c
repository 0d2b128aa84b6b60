// SPDX-License-Identifier: MIT
// System calls that say who the caller is, and where.
#include "kernel/lib.h"
#include "kernel/version.h"
#include "sys/syscall.h"
#include <arch/uaccess.h>

static s64 sys_getpid(struct task *t, const u64 a[6]) { return t->process->pid; }
SYSCALL(39, getpid, sys_getpid);
static s64 sys_gettid(struct task *t, const u64 a[6]) { return t->tid; }
SYSCALL(186, gettid, sys_gettid);
// No process has made this one: as Linux says of a parent outside the caller's namespace.
static s64 sys_getppid(struct task *t, const u64 a[6]) { return 0; }
SYSCALL(110, getppid, sys_getppid);

// There is one user, and it may do what is possible at all.
static s64 sys_zero_id(struct task *t, const u64 a[6]) { return 0; }
SYSCALL(102, getuid, sys_zero_id);
SYSCALL(104, getgid, sys_zero_id);
SYSCALL(107, geteuid, sys_zero_id);
SYSCALL(108, getegid, sys_zero_id);

#define UTS_LEN 65
struct utsname { char sysname[UTS_LEN], node[UTS_LEN], release[UTS_LEN], version[UTS_LEN], machine[UTS_LEN],
	domain[UTS_LEN]; };

// A program that looks at these wants to know which system calls it may expect. So the name is that of the system whose
// calls these are, and the release is the one whose semantics they have; a C library refuses to run on one that it
// takes for too old (glibc 2.36: 3.2). What stands behind the release and in `version` says what this really is.
static s64 sys_uname(struct task *t, const u64 a[6])
{
	struct utsname u = { .sysname = "Linux", .node = "quiesce", .release = "6.1.0-quiesce", .machine = "x86_64",
			     .domain = "(none)" };

	ksnprintf(u.version, sizeof(u.version), "Quiesce %s (%s)", quiesce_version, quiesce_commit);
	return copy_out(a[0], &u, sizeof(u));
}
SYSCALL(63, uname, sys_uname);

enum { PR_SET_NAME = 15, PR_GET_NAME = 16 };

// Of a longer name the beginning is taken.
static s64 set_name(struct task *t, vaddr_t from)
{
	char name[TASK_NAME] = { 0 };
	s64 len = copy_in_string(name, from, TASK_NAME);

	if (len == -EFAULT)
		return len;
	name[TASK_NAME - 1] = '\0';
	memcpy(t->name, name, TASK_NAME);
	return 0;
}

static s64 sys_prctl(struct task *t, const u64 a[6])
{
	switch ((u32)a[0]) {
	case PR_SET_NAME: return set_name(t, a[1]);
	case PR_GET_NAME: return copy_out(a[1], t->name, TASK_NAME);
	default: return -EINVAL;
	}
}
SYSCALL(157, prctl, sys_prctl);
