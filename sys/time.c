// SPDX-License-Identifier: MIT
// Clocks and sleep.
//
// All clocks but those of processor time are one: now_ns(), the time since boot. CLOCK_REALTIME adds what the machine's
// real-time clock said at boot. Nobody adjusts either, so CLOCK_MONOTONIC_RAW and CLOCK_TAI (whose offset Linux, too, begins
// with as 0) are the same, and a deadline by CLOCK_REALTIME stays right. The coarse clocks are as fine as the others, but
// sleeps and timeouts have the resolution of the tick.
#include "kernel/mutex.h"
#include "kernel/time.h"
#include "proc/cputime.h"
#include "sys/syscall.h"
#include "sys/timespec.h"
#include <arch/uaccess.h>

enum {
	CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID, CLOCK_MONOTONIC_RAW,
	CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME, CLOCK_REALTIME_ALARM, CLOCK_BOOTTIME_ALARM, CLOCK_TAI = 11,
};
enum { TIMER_ABSTIME = 1 };

static u64 wall_ns(void) { return wall_ns_at_boot() + now_ns(); }

// 0; -EINVAL: no clock that can be read.
static s64 clock_read(struct task *t, s32 clock, u64 *ns)
{
	switch (clock) {
	case CLOCK_REALTIME:
	case CLOCK_REALTIME_COARSE:
	case CLOCK_TAI:
		*ns = wall_ns();
		return 0;
	case CLOCK_MONOTONIC:
	case CLOCK_MONOTONIC_RAW:
	case CLOCK_MONOTONIC_COARSE:
	case CLOCK_BOOTTIME:
		*ns = now_ns();
		return 0;
	case CLOCK_PROCESS_CPUTIME_ID:
		*ns = process_cpu_ns(t->process);
		return 0;
	case CLOCK_THREAD_CPUTIME_ID:
		*ns = task_cpu_ns(t);
		return 0;
	default:
		return clock < 0 ? cpu_clock_read(t, clock, ns) : -EINVAL;
	}
}

static s64 sys_clock_gettime(struct task *t, const u64 a[6])
{
	u64 ns;
	s64 err = clock_read(t, (s32)a[0], &ns);

	return err ?: timespec_out(a[1], ns);
}
SYSCALL(228, clock_gettime, sys_clock_gettime);

static s64 sys_clock_getres(struct task *t, const u64 a[6])
{
	s32 clock = (s32)a[0];
	bool coarse = clock == CLOCK_REALTIME_COARSE || clock == CLOCK_MONOTONIC_COARSE;
	u64 ns;
	s64 err = clock_read(t, clock, &ns);

	if (err || !a[1])
		return err;
	return timespec_out(a[1], coarse ? tick_ns() : 1);
}
SYSCALL(229, clock_getres, sys_clock_getres);

static s64 sys_gettimeofday(struct task *t, const u64 a[6])
{
	u64 ns = wall_ns(), tv[2] = { ns / NSEC_PER_SEC, ns % NSEC_PER_SEC / NSEC_PER_USEC };
	s64 err = a[0] ? copy_out(a[0], tv, sizeof(tv)) : 0;

	return err ?: a[1] ? clear_out(a[1], 8) : 0;	// struct timezone: UTC
}
SYSCALL(96, gettimeofday, sys_gettimeofday);

static s64 sys_time(struct task *t, const u64 a[6])
{
	s64 sec = (s64)(wall_ns() / NSEC_PER_SEC);
	s64 err = a[0] ? copy_out(a[0], &sec, sizeof(sec)) : 0;

	return err ?: sec;
}
SYSCALL(201, time, sys_time);

// Sleep until then, or until the task is interrupted: true.
static bool sleep_until(u64 deadline_ns)
{
	struct waitq nobody;

	waitq_init(&nobody);
	return wait_event_until(&nobody, task_interrupted(), deadline_ns) == 0;
}

// Sleeps that are interrupted say how much is left. If then no handler runs, they go on with their deadline as it was.
static s64 sleep_for(struct task *t, u64 deadline_ns, vaddr_t left);
static s64 restart_sleep(struct task *t) { return sleep_for(t, t->restart.deadline_ns, t->restart.args[0]); }
static s64 sleep_for(struct task *t, u64 deadline_ns, vaddr_t left)
{
	u64 now;

	if (!sleep_until(deadline_ns))
		return 0;
	now = now_ns();
	if (now >= deadline_ns)
		return 0;
	if (left && timespec_out(left, deadline_ns - now))
		return -EFAULT;
	t->restart = (struct task_restart){ .fn = restart_sleep, .deadline_ns = deadline_ns, .args = { left } };
	return -ERESTART_RESTARTBLOCK;
}

static s64 sys_nanosleep(struct task *t, const u64 a[6])
{
	u64 ns;
	s64 err = timespec_in(a[0], &ns);

	return err ?: sleep_for(t, deadline_after(ns), a[1]);
}
SYSCALL(35, nanosleep, sys_nanosleep);

// May a thread sleep by that clock? Linux lets it by CLOCK_PROCESS_CPUTIME_ID, too; here that fails.
static s64 may_sleep_by(s32 clock)
{
	switch (clock) {
	case CLOCK_REALTIME:
	case CLOCK_MONOTONIC:
	case CLOCK_BOOTTIME:
	case CLOCK_TAI:
		return 0;
	default:
		return clock >= 0 && clock < CLOCK_TAI - 1 ? -EOPNOTSUPP : -EINVAL;
	}
}

static s64 sys_clock_nanosleep(struct task *t, const u64 a[6])
{
	s32 clock = (s32)a[0];
	u64 ns;
	s64 err = may_sleep_by(clock) ?: timespec_in(a[2], &ns);

	if (err)
		return err;
	if (!(a[1] & TIMER_ABSTIME))
		return sleep_for(t, deadline_after(ns), a[3]);
	if (clock == CLOCK_REALTIME || clock == CLOCK_TAI)
		ns = deadline_at_wall(ns);
	return sleep_until(ns) ? -ERESTARTNOHAND : 0;
}
SYSCALL(230, clock_nanosleep, sys_clock_nanosleep);

// Made by the kernel itself, for a call that was interrupted (sys/syscall.h).
static s64 sys_restart_syscall(struct task *t, const u64 a[6])
{
	return t->restart.fn ? t->restart.fn(t) : -EINTR;
}
SYSCALL(219, restart_syscall, sys_restart_syscall);
