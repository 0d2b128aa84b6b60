// SPDX-License-Identifier: MIT
// Threads: creation, end, sleep, affinity.
//
// A thread begins with two references: its creator's, dropped by thread_join(), and its own, dropped after its CPU has
// left its stack (finish_switch).
#include "kernel/thread.h"
#include "kernel/errno.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/panic.h"
#include "kernel/sched_internal.h"
#include "kernel/time.h"
#include "mm/frame/slab.h"
#include <arch/machine.h>
#include <arch/user.h>

static struct slab_cache *thread_cache;
static struct list all_threads = LIST_INIT(all_threads);
static struct spinlock all_threads_lock = SPINLOCK_INIT("all_threads", RANK_THREADS);
static u32 ending;		// threads that have left that list and are not yet freed

void sched_init(void)
{
	thread_cache = slab_create("thread", sizeof(struct thread), CACHE_LINE);
	BUG_ON(!thread_cache);
	spin_barge = strcmp(arch_hypervisor(), "none") != 0;	// a host may have fewer cores than we have CPUs
}

static void thread_init(struct thread *t, const char *name, int (*fn)(void *), void *arg, enum thread_prio prio)
{
	*t = (struct thread){ .state = THREAD_RUNNING, .prio = prio, .fn = fn, .arg = arg, .refs = 2, .name = name };
	list_init(&t->run_link);
	list_init(&t->sleep_link);
	list_init(&t->all_link);
	completion_init(&t->exited);
}

struct thread *thread_create(const char *name, int (*fn)(void *), void *arg, unsigned cpu, enum thread_prio prio)
{
	struct thread *t = slab_alloc(thread_cache);
	irqflags_t flags;

	if (!t)
		return NULL;
	thread_init(t, name, fn, arg, prio);
	t->stack = arch_stack_alloc();
	if (!t->stack) {
		slab_free(thread_cache, t);
		return NULL;
	}
	arch_thread_init(t);
	if (cpu == CPU_ANY) {
		cpumask_copy(&t->affinity, &cpus_online);
		cpu = sched_place(&t->affinity);
	} else {
		cpumask_set(&t->affinity, cpu);
	}
	ASSERT(cpu < nr_cpus && cpumask_test(&cpus_online, cpu));

	flags = spin_lock_irqsave(&all_threads_lock);
	list_push_back(&all_threads, &t->all_link);
	spin_unlock_irqrestore(&all_threads_lock, flags);
	sched_start_thread(t, cpu);
	return t;
}

void thread_put(struct thread *t)
{
	if (fetch_sub(&t->refs, 1) != 1)
		return;
	ASSERT(t->state == THREAD_DEAD && !t->on_cpu);
	arch_stack_free(t->stack);
	slab_free(thread_cache, t);
	fetch_sub(&ending, 1);
}

u32 threads_ending(void) { return load_acquire(&ending); }	// pairs with thread_put()

int thread_join(struct thread *t)
{
	int result;

	ASSERT(t != current);
	wait_for_completion(&t->exited);
	result = t->result;
	thread_put(t);
	return result;
}

void thread_exit(int result)
{
	struct thread *t = current;
	irqflags_t flags;

	ASSERT_MAY_SLEEP();
	ASSERT(!thread_is_idle());
	ASSERT(!t->space);	// space_detach() first: otherwise its reference to the space is never dropped
	t->result = result;
	fetch_add(&ending, 1);
	flags = spin_lock_irqsave(&all_threads_lock);
	list_remove(&t->all_link);
	spin_unlock_irqrestore(&all_threads_lock, flags);
	complete_all(&t->exited);
	sched_exit();
}

void thread_yield(void)
{
	schedule();
}

void thread_sleep_ns(u64 ns)
{
	u64 start = now_ns();

	ASSERT_MAY_SLEEP();
	ASSERT(!thread_is_idle());
	// A loop: somebody else's thread_wake() must not cut the sleep short.
	for (u64 end = start + ns < start ? NO_DEADLINE : start + ns; now_ns() < end;) {
		WRITE_ONCE(current->state, THREAD_SLEEPING);
		schedule_until(end);
	}
}

int thread_set_affinity(const struct cpumask *mask)
{
	struct cpumask allowed = { 0 };

	ASSERT_MAY_SLEEP();
	for_each_cpu_in(cpu, mask)
		if (cpumask_test(&cpus_online, cpu))
			cpumask_set(&allowed, cpu);
	if (cpumask_empty(&allowed))
		return -EINVAL;
	current->affinity = allowed;
	if (!cpumask_test(&allowed, cpu_id()))
		sched_migrate(sched_place(&allowed));
	return 0;
}

// While it runs it is in no queue, so nothing of a queue depends on its priority. A waker on another CPU compares with it
// under the queue's lock: it sees the new one, or it has queued its thread before schedule() takes that lock.
void thread_set_prio(enum thread_prio prio)
{
	ASSERT_MAY_SLEEP();
	if (prio == current->prio)
		return;
	WRITE_ONCE(current->prio, prio);
	schedule();
}

void thread_pin_here(void)
{
	struct cpumask here = { 0 };

	preempt_disable();
	cpumask_set(&here, cpu_id());
	preempt_enable();
	thread_set_affinity(&here);
}

struct team {
	struct waitq start, arrival;
	u32 wanted, ready;
	u32 go;		// 1: run, 2: not all could be created
	int (*fn)(void *);
	void *arg;
};

static int team_member(void *arg)
{
	struct team *team = arg;

	if (fetch_add(&team->ready, 1) + 1 == team->wanted)
		waitq_wake_all(&team->arrival);
	wait_event(&team->start, load_acquire(&team->go));	// pairs with threads_run_on()
	return READ_ONCE(team->go) == 1 ? team->fn(team->arg) : -ENOMEM;
}

int threads_run_on(const struct cpumask *mask, int (*fn)(void *), void *arg)
{
	struct team team = { .wanted = cpumask_weight(mask), .fn = fn, .arg = arg };
	struct thread *member[NR_CPUS];
	unsigned n = 0;
	int result = 0;

	waitq_init(&team.start);
	waitq_init(&team.arrival);
	for_each_cpu_in(cpu, mask) {
		member[n] = thread_create("team", team_member, &team, cpu, current->prio);
		if (!member[n])
			break;
		n++;
	}
	if (n == team.wanted) {
		wait_event(&team.arrival, READ_ONCE(team.ready) == n);
		store_release(&team.go, 1);
	} else {
		store_release(&team.go, 2);
		result = -ENOMEM;
	}
	waitq_wake_all(&team.start);
	for (unsigned i = 0; i < n; i++) {
		int r = thread_join(member[i]);

		result = result ? result : r;
	}
	return result;
}

u64 thread_count(void)
{
	irqflags_t flags = spin_lock_irqsave(&all_threads_lock);
	u64 n = 0;

	list_for_each(it, &all_threads)
		n++;
	spin_unlock_irqrestore(&all_threads_lock, flags);
	return n;
}

bool thread_dying(void) { return current->user && READ_ONCE(current->user->work) & USER_WORK_EXIT; }

void threads_print(void)
{
	static const char *const states[] = { "running", "sleeping", "dead" };
	irqflags_t flags = spin_lock_irqsave(&all_threads_lock);

	list_for_each(it, &all_threads) {
		struct thread *t = list_entry(it, struct thread, all_link);

		log_info("thread %-16s prio %u cpu %3u %s%s, %llu switches", t->name, t->prio, READ_ONCE(t->cpu),
			 states[READ_ONCE(t->state)], READ_ONCE(t->on_cpu) ? " on cpu" : "",
			 (unsigned long long)READ_ONCE(t->switches));
	}
	spin_unlock_irqrestore(&all_threads_lock, flags);
}
