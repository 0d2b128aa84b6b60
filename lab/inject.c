// SPDX-License-Identifier: MIT
// Allocation failures on purpose. One thread at a time injects; each allocation of the other threads costs one load.
#include "lab/inject.h"
#include "kernel/atomic.h"
#include "kernel/thread.h"

static u64 countdown;		// 0: off; otherwise the countdown-th allocation of `victim` from now fails
static bool all_that_follow, fired;
static struct thread *victim;	// NULL while no thread exists yet: then the boot flow itself

static void arm(u64 nth, bool follow)
{
	WRITE_ONCE(victim, current);
	WRITE_ONCE(all_that_follow, follow);
	if (nth)
		WRITE_ONCE(fired, false);
	WRITE_ONCE(countdown, nth);
}

void inject_alloc_failure(u64 nth) { arm(nth, false); }
void inject_alloc_failures_from(u64 nth) { arm(nth, true); }
bool inject_fired(void) { return READ_ONCE(fired); }

bool inject_should_fail(void)
{
	u64 n;

	// Other threads may see `countdown` early or late, but they are not the victim: only the victim goes on.
	if (!CHECK || !(n = READ_ONCE(countdown)) || READ_ONCE(victim) != current || in_irq())
		return false;
	if (n > 1 || !all_that_follow)
		WRITE_ONCE(countdown, n - 1);
	if (n > 1)
		return false;
	WRITE_ONCE(fired, true);
	return true;
}
