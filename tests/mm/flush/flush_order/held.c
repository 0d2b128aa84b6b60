// SPDX-License-Identifier: MIT
// A CPU holds a space lazily, while a kernel thread runs there. Tables are freed, and what the CPU has cached of them
// is dropped, whichever way the flush comes.
#include "kernel/lib.h"
#include "lab/oracle.h"
#include "lab/swmmu.h"
#include "lab/test.h"
#include "mm/tlb.h"
#include "tests/mm/help.h"

#if CHECK
struct holder {
	struct space *s;
	u32 there, go;
	bool lazy;
};

// Preemption off, because a CPU that idles may leave the space by itself.
static int hold_lazily(void *arg)
{
	struct holder *h = arg;

	for (;;) {
		space_attach(h->s);
		space_detach();
		preempt_disable();
		if (tlb_space_loaded_here(h->s))
			break;
		preempt_enable();
	}
	h->lazy = READ_ONCE(this_cpu_ptr(&cpu_tlb)->lazy);
	swmmu_prime(cpu_id(), BASE);
	store_release(&h->there, 1u);
	spin_until(load_acquire(&h->go), "the unmap", -1);
	preempt_enable();
	return 0;
}

static void unmap_while_held(const struct flush_backend *b)
{
	struct holder h = { .s = space_create_with(policy_find("rcu"), b) };
	u64 violations = swmmu_violations();
	unsigned cpu = mm_other_cpu(0);
	struct thread *t;

	REQUIRE(h.s);
	EXPECT_EQ(space_map(h.s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	swmmu_quiet(true);		// only what is primed is cached
	t = mm_thread("holder", hold_lazily, &h, cpu);
	REQUIRE(t);
	spin_until(load_acquire(&h.there), "holder", -1);
	EXPECT(h.lazy);
	for (int level = 1; level < PT_LEVELS; level++)
		EXPECT(swmmu_has_table(cpu, BASE, level));
	EXPECT_EQ(space_unmap(h.s, BASE, PAGE_SIZE), 0);
	if (b->drain)
		b->drain();
	for (int level = 1; level < PT_LEVELS; level++)
		EXPECT(!swmmu_has_table(cpu, BASE, level));
	store_release(&h.go, 1u);
	mm_join(t);
	space_put(h.s);
	swmmu_quiet(false);
	EXPECT_EQ(swmmu_violations(), violations);
}

TEST(flush_order, lazily_held_tables, NEEDS_CPUS2)
{
	FOR_EACH_BACKEND(b)
		if (!flush_missing(*b) && !(*b)->unseen)
			unmap_while_held(*b);
}
#endif
