// SPDX-License-Identifier: MIT
// Sleep until a time: the sleepers of each CPU, which its tick wakes (sched_tick()).
#include "kernel/sched_internal.h"
#include "kernel/time.h"

// Insert into this CPU's list, behind all sleepers that are due no later. IRQs off.
static void sleepers_insert(struct thread *t)
{
	struct list *head = &this_cpu_ptr(&runq)->sleepers, *at = head->prev;

	while (at != head && list_entry(at, struct thread, sleep_link)->wake_at > t->wake_at)
		at = at->prev;
	list_insert_between(&t->sleep_link, at, at->next);
}

bool deadline_passed(u64 deadline_ns)
{
	return deadline_ns != NO_DEADLINE && now_ns() >= deadline_ns;
}

// The caller has been SLEEPING since before it is in the list, so a tick that takes it out wakes it: schedule() then
// finds it RUNNING, or it was woken out of schedule(). A tick that comes before leaves it alone, and the next finds it:
// an idle CPU arms its timer for the first of the list only after schedule() has switched to its idle thread.
void schedule_until(u64 deadline_ns)
{
	struct thread *t = current;

	if (deadline_ns == NO_DEADLINE) {
		schedule();
		return;
	}
	irq_disable();
	t->wake_at = deadline_ns;
	sleepers_insert(t);
	irq_enable();
	schedule();
	// Still the same CPU: a thread that sleeps does not move. So the list is still this CPU's.
	irq_disable();
	list_remove(&t->sleep_link);
	irq_enable();
}
