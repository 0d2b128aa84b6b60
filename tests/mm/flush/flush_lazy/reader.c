// SPDX-License-Identifier: MIT
// See flush_lazy/reader.h.
#include "tests/mm/flush/flush_lazy/reader.h"
#include "kernel/time.h"
#include "lab/mutant.h"
#include "lab/test.h"
#include "mm/flush/lazy.h"
#include "tests/mm/help.h"

#if CHECK

// How often some CPU has begun to wait for the flushes of others.
static u64 counted_waits(void)
{
	struct counters c;

	counters_snapshot(&c);
	return c.lazy_settled + c.ipi_flush;
}

static int read_with_interrupts_off(void *arg)
{
	u64 v, sweeps, waits = counted_waits();
	struct reader *r = arg;
	irqflags_t flags;

	space_attach(r->s);
	flags = irq_save();
	r->held_reads = !arch_user_read64_nofault(r->va, &v) && v == OLD;
	store_release(&r->there, 1u);
	spin_until(load_acquire(&r->go) || counted_waits() != waits, "the unmapper", -1);
	r->done_before = load_acquire(&r->done);
	r->held_again = !arch_user_read64_nofault(r->va, &r->held_value);
	sweeps = mm_counted_here(lazy_sweeps);
	irq_restore(flags);
	spin_until(READ_ONCE(r->no_sweep) || mm_counted_here(lazy_sweeps) != sweeps, "its own sweep", -1);
	r->after_reads = !arch_user_read64_nofault(r->va, &v) && v == OLD;
	space_detach();
	return 0;
}

struct thread *reader_begin(struct reader *r, const char *policy, unsigned round)
{
	struct space *s = space_create_with(policy_find(policy), flush_find("lazy"));
	struct thread *t;

	*r = (struct reader){ .s = s, .va = BASE + 7 * round * PAGE_SIZE };
	if (!EXPECT(s))
		return NULL;
	EXPECT_EQ(space_map(s, r->va, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	space_attach(s);
	EXPECT_EQ(arch_user_write64(r->va, OLD), 0);
	space_detach();
	t = mm_thread("reader", read_with_interrupts_off, r, mm_other_cpu(0));
	if (t)
		spin_until(load_acquire(&r->there), "reader", -1);
	return t;
}

// Unmap, then call `what`, which must not leave the old page reachable. Could it be reached when `what` had returned?
static bool reachable_after(void (*what)(const struct reader *), void (*before)(const struct reader *),
			    unsigned round)
{
	struct thread *t;
	struct reader r;

	t = reader_begin(&r, "rcu", round);
	if (!t)
		return false;
	if (before)
		before(&r);
	EXPECT_EQ(space_unmap(r.s, r.va, PAGE_SIZE), 0);
	what(&r);
	store_release(&r.done, 1u);
	store_release(&r.go, 1u);
	mm_join(t);
	EXPECT(r.held_reads);
	space_put(r.s);
	return r.done_before && r.held_again && r.held_value == OLD;
}

void reader_needs_settling(void (*what)(const struct reader *), void (*before)(const struct reader *))
{
	bool reached = false;

	for (unsigned i = 0; i < 2; i++)
		EXPECT(!reachable_after(what, before, i));
	mutant_set(lazy_no_settle, 1);
	for (unsigned i = 0; i < READER_ROUNDS && !reached && !test_failed(); i++)
		reached = reachable_after(what, before, i);
	mutant_set(lazy_no_settle, 0);
	EXPECT_STALE(reached);
}

int deferred_drainer(void *unused)
{
	flush_find("lazy")->drain();
	return 0;
}

bool deferred_drained_or_asleep(const struct thread *drainer)
{
	return !deferred_held() || READ_ONCE(drainer->state) == THREAD_SLEEPING;
}
#endif
