// SPDX-License-Identifier: MIT
// See mm/help.h.
#include "tests/mm/help.h"
#include "kernel/errno.h"
#include "kernel/rcu/rcu.h"
#include "kernel/sched_internal.h"
#include "kernel/time.h"
#include "lab/quarantine.h"
#include "lab/test.h"
#include "mm/frame/slab.h"
#include "mm/pending.h"
#include "mm/tlb.h"
#include "mm/tree.h"

#define SPARE_STACKS 16

// Free frames when nothing is deferred any more and no cache holds any. A thread that has been joined may still be on
// its stack.
static u64 settle(void)
{
	(void)EVENTUALLY(!threads_ending());	// a frame that never comes back is missing below
	policies_drain();
	quarantine_drain();
	slab_shrink();
	page_drain();
	return page_free_count();
}

static void called(struct rcu_head *head) { }

// A CPU's first callback creates the thread that runs its callbacks.
static int first_callback(void *all_here)
{
	struct rcu_head head;

	wait_for_completion(all_here);
	call_rcu(&head, called);
	rcu_barrier();
	return 0;
}

// Create what is created once and kept: those threads, and stacks for as many threads as the tests have at a time, and
// some more, because a thread that has ended may still be on its stack when the next one is created.
void mm_warm_up(void)
{
	static bool warm;
	static struct thread *t[NR_CPUS + SPARE_STACKS];
	struct completion all_here;
	unsigned n = 0;

	if (warm)
		return;
	completion_init(&all_here);
	for (unsigned i = 0; i < nr_cpus + SPARE_STACKS; i++)
		if ((t[n] = mm_thread("warm", first_callback, &all_here, i % nr_cpus)))
			n++;
	complete_all(&all_here);
	while (n--)
		mm_join(t[n]);
	warm = true;
}

u64 mm_settled_frames(void)
{
	mm_warm_up();
	return settle();
}

void mm_balance_begin(struct mm_balance *b)
{
	b->spaces = space_count();
	b->frames = mm_settled_frames();
}

void mm_balance_end(const struct mm_balance *b)
{
	EXPECT_EQ(space_count(), b->spaces);
	EXPECT_EQ(settle(), b->frames);
	EXPECT_EQ(pending_in_use(), 0);
}

// With a reference of our own we can tell when the thread's own is gone, which its CPU drops after it has left the
// stack.
struct thread *mm_thread(const char *name, int (*fn)(void *), void *arg, unsigned cpu)
{
	struct thread *t = thread_create(name, fn, arg, cpu, PRIO_NORMAL);

	if (EXPECT(t))
		fetch_add(&t->refs, 1);
	return t;
}

int mm_join(struct thread *t)
{
	int result;

	if (!t)
		return -1;
	result = thread_join(t);
	while (READ_ONCE(t->refs) != 1)
		thread_yield();
	thread_put(t);
	return result;
}

int mm_reside(void *arg)
{
	struct mm_resident *r = arg;

	space_attach(r->s);
	preempt_disable();
	store_release(&r->there, 1u);
	spin_until(load_acquire(&r->go), "the test", -1);
	preempt_enable();
	space_detach();
	return 0;
}

int mm_visit(void *space)
{
	space_attach(space);
	EXPECT_EQ(arch_user_write64(BASE + cpu_id() * PAGE_SIZE, 7), 0);
	space_detach();
	return 0;
}

unsigned mm_other_cpu(unsigned k) { return (cpu_id() + 1 + k % (nr_cpus - 1)) % nr_cpus; }

static const char *none_missing(void) { return NULL; }

static void none_flush(const struct flush *f, const struct cpumask *targets, struct cpumask *proved)
{
	fetch_sub(&f->space->gen, 1);
}

const struct flush_backend mm_flush_none = { .name = "none", .missing = none_missing, .flush = none_flush };

struct space *mm_populated(const struct table_policy *p, const struct flush_backend *b, u64 len)
{
	struct space *s = space_create_with(p, b);

	if (EXPECT(s))
		EXPECT_EQ(space_map(s, BASE, len, RW, 1, MAP_POPULATE), 0);
	return s;
}

struct page *mm_table(struct space *s, vaddr_t va, int level)
{
	struct page *table = NULL;
	pte_t *e;

	mutex_lock(&s->lock);
	e = tree_find(s, va, level, &table);
	mutex_unlock(&s->lock);
	return e ? table : NULL;
}

struct counters mm_counted_since(const struct counters *before)
{
	struct counters now;

	counters_snapshot(&now);
	counters_sub(&now, &now, before);
	return now;
}

enum table_state mm_state(const struct page *table) { return READ_ONCE(table->table_state); }

const struct table_policy *mm_freeing_policy(void)
{
	return policy_default()->keeps ? policy_find("rcu") : policy_default();
}

void mm_put_emptied(struct space *s, const struct page *table)
{
	const struct table_policy *p = s->freer;

	if (p->drain)
		p->drain();
	EXPECT_EQ(mm_state(table), p->keeps ? TABLE_LIVE : TABLE_FREE);
	space_put(s);
	EXPECT_EQ(mm_state(table), TABLE_FREE);
}

bool mm_poisoned(const struct page *table)
{
	const pte_t *e = page_to_virt(table);

	for (unsigned i = 0; i < PT_ENTRIES; i++)
		if (pte_present(pte_read(&e[i])))
			return false;
	return true;
}

unsigned mm_regions(struct space *s)
{
	unsigned n = 0;

	mutex_lock(&s->lock);
	list_for_each(it, &s->regions)
		n++;
	mutex_unlock(&s->lock);
	return n;
}

bool mm_reads(vaddr_t va, u64 expected)
{
	u64 v = ~expected;

	return !arch_user_read64(va, &v) && v == expected;
}

bool mm_faults(vaddr_t va)
{
	u64 v;

	return arch_user_read64(va, &v) == -EFAULT && arch_user_write64(va, 1) == -EFAULT;
}
