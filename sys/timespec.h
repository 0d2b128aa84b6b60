// SPDX-License-Identifier: MIT
// Times as programs pass them, and the clocks that they name. Times are ns; those too large for 64 bits (584 years) are
// NO_DEADLINE.
#pragma once
#include "kernel/sched.h"
#include "kernel/types.h"

struct user_timespec { s64 sec, nsec; };		// as Linux's struct __kernel_timespec

s64 timespec_in(vaddr_t from, u64 *ns);			// 0; -EFAULT; -EINVAL: negative, or no nanoseconds
s64 timespec_out(vaddr_t to, u64 ns);			// 0; -EFAULT
u64 deadline_after(u64 ns);				// by now_ns(), so long from now
u64 deadline_at_wall(u64 ns);				// by now_ns(), of a time since 1970
