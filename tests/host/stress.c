// SPDX-License-Identifier: MIT
// Walkers against one unmapper in a space so small that they meet all the time. For the deterministic scheduler
// (arch/host/steps.h): short enough to be run with many seeds, and with a step of the protocol taken out (mutant=) it
// must fail for one of them.
#include "kernel/errno.h"
#include "kernel/lib.h"
#include "lab/oracle.h"
#include "lab/test.h"
#include "mm/policy/switch.h"
#include "mm/space.h"
#include "mm/walk.h"
#include "tests/mm/help.h"

#define GROUPS 2		// each below an entry of its own in the root
#define PAGES 4			// of a group: two share a table of level 1, the next shares level 2, the last level 3
#define ROUNDS 400		// of the unmapper
#define SHORT_ROUNDS 20		// … if all pairs are to have their turn

struct stress {
	struct space *space;
	u32 stop;
	u64 violations_before;
	u64 pins, bad_pins, user_reads, bad_reads;	// added up by the walkers
	u64 errors;
	bool switches;		// the unmapper changes the pair now and then
};

struct walker {
	struct stress *s;
	bool attached;
	u64 seed;
	struct thread *thread;
};

static unsigned draw(u64 *seed, unsigned n) { return (unsigned)(rand_next(seed) % n); }
static vaddr_t group_base(unsigned g) { return (vaddr_t)(g + 1) << level_shift(4); }

static vaddr_t page_va(unsigned g, unsigned i)
{
	static const u64 at[PAGES] = { 0, PAGE_SIZE, 2ull << 20, 1ull << 30 };

	return group_base(g) + at[i];
}

static u64 stamp_of(vaddr_t va) { return va * 0x9e3779b97f4a7c15ull | 1; }

// A page is zeroed, then stamped: nothing else may be seen in it, on whatever path it is reached.
static bool is_right(u64 seen, vaddr_t va) { return !seen || seen == stamp_of(va); }

static void put_up(struct stress *s, vaddr_t va)
{
	struct page *page;

	s->errors += space_map(s->space, va, PAGE_SIZE, RW, 1, MAP_POPULATE) != 0;
	if (walk_pin(s->space, va, true, &page)) {
		s->errors++;
		return;
	}
	WRITE_ONCE(*(u64 *)page_to_virt(page), stamp_of(va));
	page_unpin(page, true);
}

static void put_up_group(struct stress *s, unsigned g)
{
	for (unsigned i = 0; i < PAGES; i++)
		put_up(s, page_va(g, i));
}

static void take_down(struct stress *s, u64 *seed)
{
	unsigned g = draw(seed, GROUPS), i = draw(seed, PAGES), j = (i + 1 + draw(seed, PAGES - 1)) % PAGES;

	if (draw(seed, 3)) {	// the frame freed last is allocated first, so the two pages swap frames
		s->errors += space_unmap(s->space, page_va(g, i), PAGE_SIZE) != 0;
		s->errors += space_unmap(s->space, page_va(g, j), PAGE_SIZE) != 0;
		put_up(s, page_va(g, i));
		put_up(s, page_va(g, j));
	} else {
		s->errors += space_unmap(s->space, group_base(g), level_size(4)) != 0;
		put_up_group(s, g);
	}
}

// Switches to a random safe pair.
static void change_pair(struct stress *s, u64 *seed)
{
	const struct table_policy *policy = NULL;
	const struct flush_backend *flush = NULL;
	unsigned n = 0;

	FOR_EACH_BACKEND(b) {
		FOR_EACH_POLICY(p) {
			if (!flush_missing(*b) && pair_verdict(*p, *b).safe && !draw(seed, ++n)) {
				policy = *p;
				flush = *b;
			}
		}
	}
	s->errors += space_switch_pair(s->space, policy, flush) != 0;
}

static void pin(struct walker *w, vaddr_t va)
{
	struct page *page;

	if (draw(&w->seed, 8) ? walk_pin_fast(w->s->space, va, 1, false, &page) != 1 : walk_pin(w->s->space, va, false, &page))
		return;
	fetch_add(&w->s->pins, 1);
	if (READ_ONCE(page_head(page)->kind) != PAGE_ANON || !is_right(READ_ONCE(*(u64 *)page_to_virt(page)), va))
		fetch_add(&w->s->bad_pins, 1);
	page_unpin(page, false);
}

static void read_as_user(struct walker *w, vaddr_t va)
{
	u64 seen;

	if (arch_user_read64_nofault(va, &seen))
		return;
	fetch_add(&w->s->user_reads, 1);
	if (!is_right(seen, va))
		fetch_add(&w->s->bad_reads, 1);
}

static int walk(void *arg)
{
	struct walker *w = arg;

	if (w->attached)
		space_attach(w->s->space);
	while (!READ_ONCE(w->s->stop)) {
		vaddr_t va = page_va(draw(&w->seed, GROUPS), draw(&w->seed, PAGES));

		pin(w, va);
		if (w->attached)
			read_as_user(w, va);
	}
	if (w->attached)
		space_detach();
	return 0;
}

static bool spotless(struct stress *s)
{
	return oracle_violations() == s->violations_before && !READ_ONCE(s->bad_pins) && !READ_ONCE(s->bad_reads);
}

// Walkers on all CPUs but ours, every third one in the space.
static void walkers_against_us(struct stress *s, unsigned rounds)
{
	static struct walker walkers[NR_CPUS];
	u64 seed = test_seed();
	unsigned me = cpu_id();

	for_each_cpu(cpu) {
		struct walker *w = &walkers[cpu];

		*w = (struct walker){ .s = s, .attached = cpu % 3 == (me + 1) % 3, .seed = seed ^ (u64)(cpu + 1) << 32 };
		if (cpu != me)
			w->thread = mm_thread("walker", walk, w, cpu);
	}
	spin_until(READ_ONCE(s->pins) && READ_ONCE(s->user_reads), "walkers", -1);
	for (unsigned i = 0; i < rounds && spotless(s); i++) {
		if (s->switches && i % 4 == 0)
			change_pair(s, &seed);
		take_down(s, &seed);
	}
	WRITE_ONCE(s->stop, 1);
	for_each_cpu(cpu)
		if (walkers[cpu].thread)
			mm_join(walkers[cpu].thread);
}

static void stress(const struct table_policy *p, const struct flush_backend *b, unsigned rounds, bool switches)
{
	struct stress s = { .space = space_create_with(p, b), .violations_before = oracle_violations(), .switches = switches };

	REQUIRE(s.space);
	for (unsigned g = 0; g < GROUPS; g++)
		put_up_group(&s, g);
	walkers_against_us(&s, rounds);
	space_put(s.space);
	policies_drain();		// what was deferred is part of the run
	EXPECT_EQ(oracle_violations() - s.violations_before, 0);
	EXPECT_EQ(s.bad_pins, 0);
	EXPECT_EQ(s.bad_reads, 0);
	EXPECT_EQ(s.errors, 0);
	if (test_failed())
		log_error("%s with %s", p->name, b->name);
}

TEST(stress, named_pair, NEEDS_CPUS4 | NEEDS_CHECK) { stress(policy_default(), flush_default(), ROUNDS, false); }
TEST(stress, switching, NEEDS_CPUS4 | NEEDS_CHECK) { stress(policy_default(), flush_default(), ROUNDS, true); }

TEST(stress, safe_pairs, NEEDS_CPUS4 | NEEDS_CHECK)
{
	FOR_EACH_BACKEND(b) {
		FOR_EACH_POLICY(p)
			if (!flush_missing(*b) && pair_verdict(*p, *b).safe && !test_failed())
				stress(*p, *b, SHORT_ROUNDS, false);
	}
}
