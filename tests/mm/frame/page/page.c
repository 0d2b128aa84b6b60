// SPDX-License-Identifier: MIT
// Page frames: every order, exhaustion, merging, splitting, reference counts under walkers, per-CPU lists.
#include "kernel/lib.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "kernel/xcall.h"
#include "lab/inject.h"
#include "lab/test.h"
#include "mm/frame/slab.h"
#include "mm/frame/stock.h"
#include "tests/mm/frame/page/help.h"

static void put_list(struct list *pages)
{
	struct list *l;

	while ((l = list_pop_front(pages)))
		page_put(list_entry(l, struct page, link));
}

static void expect_block(struct page *head, unsigned order, enum page_kind kind)
{
	struct page *last = head + (1ull << order) - 1, *middle = head + (1ull << order) / 2;

	EXPECT_EQ(page_to_phys(head) & ((PAGE_SIZE << order) - 1), 0);
	EXPECT_EQ(head->kind, kind);
	EXPECT_EQ(head->order, order);
	EXPECT_EQ(READ_ONCE(head->refs), 1);
	if (!order)
		return;
	EXPECT_EQ(last->kind, PAGE_TAIL);
	EXPECT(page_head(last) == head && page_head(middle) == head && page_head(head) == head);
	EXPECT(!page_try_get(last) && !page_try_get(middle));
}

TEST(page, orders, 0)
{
	u64 before = page_balance_start();

	for (unsigned order = 0; order <= MAX_ORDER; order++) {
		struct page *p = page_alloc(order, PAGE_KERNEL, 0);

		if (!p) {
			EXPECT(order > 8);	// no block that large is free, or memory is fragmented
			continue;
		}
		expect_block(p, order, PAGE_KERNEL);
		EXPECT(page_balanced(before - (1ull << order)));
		page_put(p);
		EXPECT(page_balanced(before));
		EXPECT(page_head(p + (1ull << order) - 1) == p + (1ull << order) - 1);	// tails are normal again
	}
	EXPECT(!page_alloc(MAX_ORDER + 1, PAGE_KERNEL, 0));
	EXPECT(page_check());
}

TEST(page, kinds_and_owner_fields, 0)
{
	static const enum page_kind kinds[] = { PAGE_ANON, PAGE_TABLE, PAGE_SLAB, PAGE_KERNEL };

	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct page *p = page_alloc(0, kinds[i], 0);

		REQUIRE(p);
		EXPECT_EQ(p->kind, kinds[i]);
		EXPECT_EQ(p->private, 0);
		EXPECT_EQ(p->table_state, TABLE_NONE);
		p->private = ~0ull;		// whatever one owner leaves behind, the next one starts afresh
		p->table_state = TABLE_FREE;
		p->table_level = 4;
		page_put(p);
	}
}

TEST(page, zeroed, 0)
{
	for (unsigned order = 0; order <= 4; order += 2) {
		struct page *p = page_alloc(order, PAGE_ANON, 0);
		u64 *w, any = 0;

		REQUIRE(p);
		memset(page_to_virt(p), 0xa5, PAGE_SIZE << order);
		page_put(p);
		p = page_alloc(order, PAGE_ANON, PG_ZERO);
		REQUIRE(p);
		w = page_to_virt(p);
		for (u64 i = 0; i < (PAGE_SIZE << order) / sizeof(u64); i++)
			any |= w[i];
		EXPECT_EQ(any, 0);
		page_put(p);
	}
}

TEST(page, address_conversions, 0)
{
	struct page *p = page_alloc(0, PAGE_KERNEL, 0);

	REQUIRE(p);
	EXPECT(virt_to_page((char *)page_to_virt(p) + 123) == p);
	EXPECT(page_of(page_to_phys(p) + 4095) == p);
	EXPECT(page_valid(page_to_phys(p)));
	page_put(p);
}

TEST(page, birth_grows, 0)
{
	struct page *p, *again;
	u32 birth;

	preempt_disable();
	p = page_alloc(0, PAGE_KERNEL, 0);
	if (EXPECT(p)) {
		birth = p->birth;
		page_put(p);
		again = page_alloc(0, PAGE_KERNEL, 0);
		EXPECT(again == p);		// the warmest frame comes first
		if (EXPECT(again))
			page_put(again);
		EXPECT_EQ(p->birth, birth + 1);
	}
	preempt_enable();

	p = page_alloc(3, PAGE_KERNEL, 0);
	REQUIRE(p);
	birth = p[5].birth;
	page_put(p);
	again = page_alloc(3, PAGE_KERNEL, 0);
	REQUIRE(again);
	EXPECT(again != p || p[5].birth == birth + 1);
	page_put(again);
}

TEST(page, interrupts_off, 0)
{
	u64 before = page_balance_start();
	irqflags_t flags = irq_save();
	struct page *a = page_alloc(0, PAGE_KERNEL, 0), *b = page_alloc(2, PAGE_KERNEL, PG_ZERO);

	EXPECT(!irqs_enabled());
	if (a)
		page_put(a);
	if (b)
		page_put(b);
	EXPECT(!irqs_enabled());
	irq_restore(flags);
	EXPECT(a && b);
	EXPECT(page_balanced(before));
}

TEST(page, references, 0)
{
	u64 before = page_balance_start();
	struct page *p = page_alloc(0, PAGE_ANON, 0);

	REQUIRE(p);
	EXPECT(page_try_get(p));
	EXPECT(page_try_get(p));
	EXPECT_EQ(READ_ONCE(p->refs), 3);
	page_put(p);
	page_put(p);
	EXPECT(page_balanced(before - 1));
	page_put(p);
	EXPECT(page_balanced(before));
	EXPECT(!page_try_get(p));
	EXPECT_EQ(READ_ONCE(p->refs), 0);
}

// As if many references had been taken: taking more, one by one, ends at the limit, and each one counts.
TEST(page, references_end_before_they_wrap, 0)
{
	u64 before = page_balance_start();
	struct page *p = page_alloc(0, PAGE_ANON, 0);

	REQUIRE(p);
	fetch_add(&p->refs, PAGE_REFS_MAX - 3);
	EXPECT(page_try_get(p) && page_try_get(p));
	EXPECT_EQ(READ_ONCE(p->refs), PAGE_REFS_MAX);
	EXPECT(!page_try_get(p) && !page_try_get(p));
	EXPECT_EQ(READ_ONCE(p->refs), PAGE_REFS_MAX);
	page_put(p);
	EXPECT(page_try_get(p));		// one reference was returned
	EXPECT(!page_try_get(p));
	fetch_add(&p->refs, ~0u - PAGE_REFS_MAX);
	EXPECT(!page_try_get(p));		// the last value before 0
	fetch_sub(&p->refs, ~0u - 1);
	page_put(p);
	EXPECT(page_balanced(before));
}

TEST(page, reserved_frames_tolerate_walkers, 0)
{
	struct page *p = page_of(0);

	EXPECT_EQ(p->kind, PAGE_RESERVED);
	EXPECT_EQ(READ_ONCE(p->refs), 1);
	EXPECT(page_try_get(p));
	page_put(p);
	EXPECT_EQ(READ_ONCE(p->refs), 1);
}

TEST(page, split, 0)
{
	u64 before = page_balance_start();
	struct page *p = page_alloc(9, PAGE_ANON, 0);
	bool ok = true;

	REQUIRE(p);
	EXPECT(page_try_get(p));
	EXPECT(!page_split(p));		// another reference is held
	EXPECT_EQ(READ_ONCE(p->refs), 2);
	page_put(p);
	expect_block(p, 9, PAGE_ANON);	// the attempt has changed nothing
	EXPECT(page_split(p));
	for (unsigned i = 0; i < 512; i++)
		ok = ok && p[i].kind == PAGE_ANON && !p[i].order && READ_ONCE(p[i].refs) == 1 && page_head(&p[i]) == &p[i];
	EXPECT(ok);
	for (unsigned i = 0; i < 512; i++)
		page_put(&p[i ^ 0x155]);
	EXPECT(page_balanced(before));
	EXPECT(page_check());
}

// Take all memory, largest blocks first. The descriptors of all RAM are touched, but not the RAM.
TEST(page, exhaustion, 0)
{
	struct list all = LIST_INIT(all);
	u64 before = page_balance_start(), frames = 0;

	for (int order = MAX_ORDER; order >= 0; order--) {
		struct page *p;

		while ((p = page_alloc((unsigned)order, PAGE_KERNEL, 0))) {
			list_push_front(&all, &p->link);
			frames += 1ull << order;
		}
	}
	EXPECT_EQ(frames, before);		// the other CPUs' lists included
	EXPECT_EQ(page_free_count(), 0);
	EXPECT(!page_alloc(0, PAGE_KERNEL, PG_ZERO));
	EXPECT(!page_alloc(9, PAGE_KERNEL, 0));
	EXPECT(!kmalloc(1 << 20));
	put_list(&all);
	EXPECT(page_balanced(before));
	EXPECT(page_check());
}

static void free_blocks(u64 blocks[MAX_ORDER + 1])
{
	slab_shrink();
	page_drain();
	for (unsigned order = 0; order <= MAX_ORDER; order++)
		blocks[order] = buddy_free_blocks(order);
}

// Single frames of half the memory (at most 64 MiB), freed in a scattered order, become the blocks that they came from.
TEST(page, merge, 0)
{
	u64 before[MAX_ORDER + 1], after[MAX_ORDER + 1], seed = test_seed(), n = MIN(page_free_count() / 2, 16384ull);
	struct list some[16];

	for (unsigned i = 0; i < ARRAY_SIZE(some); i++)
		list_init(&some[i]);
	page_balance_start();
	free_blocks(before);
	while (n--) {
		struct page *p = page_alloc(0, PAGE_KERNEL, 0);

		if (!EXPECT(p))
			break;
		list_push_front(&some[rand_next(&seed) % ARRAY_SIZE(some)], &p->link);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(some); i++)
		put_list(&some[i]);
	free_blocks(after);
	EXPECT(page_check());		// this includes: no free block beside its free buddy
	for (unsigned order = 0; order <= MAX_ORDER; order++)
		EXPECT_EQ(after[order], before[order]);
}

TEST(page, whole_gigabyte, NEEDS_MEM_1G)
{
	u64 before = page_balance_start();
	struct page *p = page_alloc(18, PAGE_ANON, 0);

	REQUIRE(p);
	expect_block(p, 18, PAGE_ANON);
	EXPECT_EQ(p[262143].head_off, 262143);
	page_put(p);
	EXPECT(page_balanced(before));
}

TEST(page, injected_failures, NEEDS_CHECK)
{
	struct page *p[4];

	inject_alloc_failure(3);
	for (unsigned i = 0; i < 4; i++)
		p[i] = page_alloc(i & 1, PAGE_KERNEL, 0);
	EXPECT(inject_fired());
	inject_alloc_failure(0);
	for (unsigned i = 0; i < 4; i++) {
		EXPECT(!p[i] == (i == 2));
		if (p[i])
			page_put(p[i]);
	}
	inject_alloc_failures_from(1);
	EXPECT(!page_alloc(0, PAGE_KERNEL, 0));
	EXPECT(!page_alloc(0, PAGE_KERNEL, 0));
	p[0] = page_alloc(0, PAGE_KERNEL, PG_NOFAIL_INJECT);
	inject_alloc_failure(0);
	if (EXPECT(p[0]))
		page_put(p[0]);
}

static u32 errors;
static void note_error(const char *what, const void *object) { fetch_add(&errors, 1); }

TEST(page, double_put_is_reported, NEEDS_CHECK)
{
	u64 before = page_balance_start();
	struct page *p = page_alloc(0, PAGE_KERNEL, 0);
	irqflags_t flags;

	REQUIRE(p);
	WRITE_ONCE(errors, 0);
	flags = irq_save();		// nobody may take the frame between the two puts
	page_put(p);
	WRITE_ONCE(alloc_error_hook, note_error);
	page_put(p);
	WRITE_ONCE(alloc_error_hook, NULL);
	irq_restore(flags);
	EXPECT_EQ(READ_ONCE(errors), 1);
	EXPECT_EQ(READ_ONCE(p->refs), 0);
	EXPECT(page_balanced(before));
	EXPECT(page_check());
}

// Frames allocated here and freed there: the per-CPU lists stay short, because the surplus flows back.
#define CROSS (3 * PCP_HIGH)
static struct page *cross[CROSS];

static int free_cross(void *unused)
{
	for (unsigned i = 0; i < CROSS; i++)
		page_put(cross[i]);
	return (int)(pcp_count() > (PCP_HIGH + 1ull) * nr_cpus);
}

TEST(page, freed_on_another_cpu, NEEDS_CPUS2)
{
	struct cpumask other = { 0 };
	unsigned n;

	for (unsigned cpu = 0; cpu < MIN(nr_cpus, 4u); cpu++) {
		for (n = 0; n < CROSS && (cross[n] = page_alloc(0, PAGE_KERNEL, 0)); n++)
			;
		if (!EXPECT_EQ(n, CROSS)) {
			while (n--)
				page_put(cross[n]);
			return;
		}
		cpumask_zero(&other);
		cpumask_set(&other, cpu);
		EXPECT_EQ(threads_run_on(&other, free_cross, NULL), 0);
	}
	EXPECT(page_check());
}

// Stress: on each CPU a thread allocates, stamps, checks and frees blocks, and publishes where they are. In between it
// behaves as a lockless walker: it takes references to whatever is in the published places, free, reused or in use.
#define PLACES 256
#define HOLD 8
static struct page *places[PLACES];
#define STRESS_ROUNDS 3000	// on each CPU, and then until walkers have met both cases often enough
#define STRESS_ENOUGH 100
#define STRESS_MOST 1000000
static u64 stress_rounds;
static u64 got, refused;

static bool stamp_ok(struct page *p, u64 stamp)
{
	u64 *first = page_to_virt(p), *last = (u64 *)((char *)first + (PAGE_SIZE << p->order)) - 1;

	return *first == stamp && *last == ~stamp;
}

static void stamp(struct page *p, u64 stamp)
{
	u64 *first = page_to_virt(p), *last = (u64 *)((char *)first + (PAGE_SIZE << p->order)) - 1;

	*first = stamp;
	*last = ~stamp;
}

static void walk(u64 *seed)
{
	struct page *p = READ_ONCE(places[rand_next(seed) % PLACES]), *head;
	u8 kind;

	if (!p)
		return;
	head = page_head(p);
	if (!page_try_get(head)) {
		fetch_add_relaxed(&refused, 1);
		return;
	}
	for (u64 n = rand_next(seed) % 64; n; n--)
		cpu_relax();
	kind = READ_ONCE(head->kind);		// held: it can neither be freed nor change hands now
	EXPECT(kind == PAGE_ANON || kind == PAGE_TABLE || kind == PAGE_SLAB || kind == PAGE_KERNEL);
	page_put(head);
	fetch_add_relaxed(&got, 1);
}

// A published block is allocated and freed over and over again: in each round a walker may find it in use, or free.
static bool stress_goes_on(u64 round)
{
	return round < stress_rounds || (stress_rounds && round < STRESS_MOST &&
					 (READ_ONCE(got) < STRESS_ENOUGH || READ_ONCE(refused) < STRESS_ENOUGH));
}

static int stress(void *unused)
{
	struct page *held[HOLD] = { NULL };
	u64 stamps[HOLD] = { 0 }, seed = test_seed() ^ cpu_id() * 0x9e3779b97f4a7c15ull;
	int bad = 0;

	for (u64 round = 0; stress_goes_on(round); round++) {
		unsigned i = (unsigned)(rand_next(&seed) % HOLD);

		walk(&seed);
		if (!held[i]) {
			unsigned order = rand_next(&seed) % 4 ? 0 : (unsigned)(rand_next(&seed) % 4);

			held[i] = page_alloc(order, PAGE_ANON, 0);
			if (!held[i])
				continue;
			stamps[i] = rand_next(&seed);
			stamp(held[i], stamps[i]);
			WRITE_ONCE(places[rand_next(&seed) % PLACES], held[i] + rand_next(&seed) % (1ull << order));
			continue;
		}
		bad += !stamp_ok(held[i], stamps[i]);
		if (held[i]->order && !(rand_next(&seed) % 4)) {
			unsigned n = 1u << held[i]->order;

			if (!page_split(held[i]))
				continue;	// a walker holds a reference
			for (unsigned j = 1; j < n; j++)
				page_put(held[i] + j);
		}
		page_put(held[i]);
		held[i] = NULL;
	}
	for (unsigned i = 0; i < HOLD; i++)
		if (held[i])
			page_put(held[i]);
	return bad;
}

TEST(page, stress_with_walkers, 0)
{
	struct cpumask all = { 0 };
	u64 before;

	for (unsigned cpu = 0; cpu < MIN(nr_cpus, STRESS_CPUS); cpu++)
		cpumask_set(&all, cpu);
	stress_rounds = 0;
	EXPECT_EQ(threads_run_on(&all, stress, NULL), 0);	// the threads' memory is allocated now
	before = page_balance_start();
	got = refused = 0;
	stress_rounds = STRESS_ROUNDS;
	EXPECT_EQ(threads_run_on(&all, stress, NULL), 0);
	log_info("%llu references taken, %llu refused", (unsigned long long)READ_ONCE(got), (unsigned long long)READ_ONCE(refused));
	EXPECT(READ_ONCE(got) >= STRESS_ENOUGH);
	EXPECT(READ_ONCE(refused) >= STRESS_ENOUGH);
	EXPECT(page_balanced(before));
	EXPECT(page_check());
}
