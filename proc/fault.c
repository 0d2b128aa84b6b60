// SPDX-License-Identifier: MIT
// What a program's fault leads to.
#include "proc/fault.h"
#include "kernel/errno.h"
#include "mm/region.h"
#include "mm/space.h"
#include "proc/task.h"
#include <arch/uaccess.h>

// Why is the access refused: is nothing there, or not this?
static u8 refusal(struct space *s, vaddr_t va)
{
	struct region *r;

	mutex_lock(&s->lock);
	r = va < USER_END ? region_find(s, va) : NULL;
	mutex_unlock(&s->lock);
	return r ? SEGV_ACCERR : SEGV_MAPERR;
}

// 0: try again.
static int bring_in(struct space *s, const struct user_fault *f)
{
	return space_fault_access(s, f->addr, f->exec ? PROT_X : f->write ? PROT_W : PROT_R);
}

// An access of the kernel's to the program's memory, in a call or at a task's end. A process that is ending gets no more,
// as nobody will look at what would have been stored there.
bool task_memory_freed(void)
{
	if (!current->user || READ_ONCE(current_task()->process->ending))
		return false;
	process_out_of_memory();
	return true;
}
USER_NO_MEMORY(task_memory_freed);

void task_fault(struct task *t, struct user_fault *f)
{
	struct space *s = t->process->space;

	if (!f->signal) {
		int err = bring_in(s, f);

		if (!err)
			return;
		if (err == -ENOMEM) {
			process_out_of_memory();
			return;
		}
		f->code = refusal(s, f->addr);
		if (err == -ENXIO) {		// behind the end of what is mapped there
			f->signal = SIGBUS;
			f->code = BUS_ADRERR;
		}
	}
	signal_fault(t, f);
}
