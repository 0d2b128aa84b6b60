// SPDX-License-Identifier: MIT
// Processes: creation, end, and which one goes when memory is short.
#include "proc/process.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/panic.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "mm/frame/slab.h"
#include "mm/held.h"
#include "mm/space.h"
#include "proc/cputime.h"
#include "proc/stack.h"
#include "proc/task.h"

static struct mutex all_lock = MUTEX_INIT(all_lock, "processes");
static struct list all_processes = LIST_INIT(all_processes);
static u64 nr_processes;	// all_lock
static u32 last_id;

u32 process_new_id(void) { return fetch_add_relaxed(&last_id, 1) + 1; }
u64 process_count(void) { return READ_ONCE(nr_processes); }

static void set_limits(struct process *p)
{
	for (int i = 0; i < NR_RLIMITS; i++)
		p->limits[i] = (struct rlimit){ RLIM_INFINITY, RLIM_INFINITY };
	p->limits[RLIMIT_STACK].soft = STACK_SIZE;
	p->limits[RLIMIT_NOFILE] = (struct rlimit){ 3, 3 };
}

struct process *process_create(const char *name)
{
	struct process *p = kzalloc(sizeof(*p));

	if (!p)
		return NULL;
	p->space = space_create();
	if (!p->space) {
		kfree(p);
		return NULL;
	}
	p->refs = 1;
	p->pid = process_new_id();
	p->name = name;
	p->started_ns = now_ns();
	mutex_init(&p->lock, "process");
	list_init(&p->tasks);
	completion_init(&p->ended);
	set_limits(p);
	signals_init_process(p);
	mutex_lock(&all_lock);
	list_push_back(&all_processes, &p->all_link);
	nr_processes++;
	mutex_unlock(&all_lock);
	return p;
}

void process_get(struct process *p) { fetch_add(&p->refs, 1); }

// Of a process that was found in the list: its last reference may be gone, and whoever had it waits for all_lock to take it
// off the list. Never 0 -> 1.
static bool try_get(struct process *p)
{
	u64 refs;

	ASSERT(mutex_held(&all_lock));
	do {
		refs = READ_ONCE(p->refs);
		if (!refs)
			return false;
	} while (!cmpxchg(&p->refs, refs, refs + 1));
	return true;
}

// The space goes with the last task; without any, here.
void process_put(struct process *p)
{
	if (fetch_sub(&p->refs, 1) != 1)
		return;
	if (p->space)
		process_give_up_space(p);
	signals_end_process(p);
	kfree(p);
}

// From here on nobody finds the process by way of the list of all, so nobody asks for its space.
void process_give_up_space(struct process *p)
{
	struct space *s = p->space;

	mutex_lock(&all_lock);
	list_remove(&p->all_link);
	nr_processes--;
	p->space = NULL;
	mutex_unlock(&all_lock);
	space_put(s);
}

void process_leave(struct task *t)
{
	struct process *p = t->process;
	bool last;

	mutex_lock(&p->lock);
	list_remove(&t->link);
	signals_end_task(t);
	cpu_task_ends(t);
	last = !--p->nr_tasks;
	if (last && !p->ending) {
		WRITE_ONCE(p->ending, true);
		p->status = (t->exit_code & 0xff) << 8;
	}
	mutex_unlock(&p->lock);
	if (!last)
		return;
	process_give_up_space(p);
	complete_all(&p->ended);
}

void process_end(struct process *p, int status)
{
	mutex_lock(&p->lock);
	if (!p->ending) {
		WRITE_ONCE(p->ending, true);
		p->status = status;
		list_for_each(it, &p->tasks)
			task_kick(list_entry(it, struct task, link), WORK_EXIT);
	}
	mutex_unlock(&p->lock);
}

struct task *process_task(struct process *p, u32 tid)
{
	ASSERT(mutex_held(&p->lock));
	list_for_each(it, &p->tasks) {
		struct task *t = list_entry(it, struct task, link);

		if (t->tid == tid)
			return t;
	}
	return NULL;
}

// all_lock held: a process in the list has its space. NULL: one is ending already, and its memory will come. *most: pages
// that the found one holds.
static struct process *largest(u64 *most)
{
	struct process *found = NULL;

	*most = 0;
	list_for_each(it, &all_processes) {
		struct process *p = list_entry(it, struct process, all_link);
		u64 pages;

		if (READ_ONCE(p->ending))
			return NULL;
		pages = space_held_pages(p->space);
		if (found && pages <= *most)
			continue;
		found = p;
		*most = pages;
	}
	return found;
}

void process_out_of_memory(void)
{
	struct process *victim;
	u64 pages;

	mutex_lock(&all_lock);
	victim = largest(&pages);
	if (victim && !try_get(victim))
		victim = NULL;
	if (victim) {
		log_warn("out of memory: %s (process %u), which holds %llu pages, is killed", victim->name, victim->pid,
			 (unsigned long long)pages);
	}
	mutex_unlock(&all_lock);
	if (victim) {
		process_end(victim, SIGKILL);
		process_put(victim);
	} else {
		thread_sleep_ns(tick_ns());
	}
}
