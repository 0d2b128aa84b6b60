// SPDX-License-Identifier: MIT
// Random sequences of every operation against a model that is too simple to be wrong; alone, and with walkers on the other
// CPUs that judge what they pin.
#include "kernel/errno.h"
#include "kernel/lib.h"
#include "kernel/test.h"
#include "kernel/xcall.h"
#include "mm/oracle.h"
#include "mm/tlb.h"
#include "mm/walk.h"
#include "tests/mm_help.h"
#include "tests/space_help.h"

#define SLOTS 3				// of 2 MiB
#define PAGES (SLOTS * PT_ENTRIES)
#define STAMP 0x57a3ull			// upper bits of what is ever written

struct model_page {
	bool mapped, writable;
	u64 stamp;			// 0: not touched yet
};

struct model {
	struct space *s;
	struct model_page page[PAGES];
	u64 rng, stamps;
	bool walkers;			// then -EBUSY is an answer
	u32 stop;
	u64 odd;
};

static u64 collapsed, split, moved;	// in all sequences: none of the three must go untried

static vaddr_t address(unsigned i) { return BASE + i * PAGE_SIZE; }

static bool look_at(struct model *m, unsigned i)
{
	const struct model_page *p = &m->page[i];

	return !p->mapped ? mm_faults(address(i)) : mm_reads(address(i), p->stamp);
}

static bool all_mapped(const struct model *m, unsigned i, unsigned n)
{
	while (n && m->page[i].mapped)
		i++, n--;
	return !n;
}

static bool none_mapped(const struct model *m, unsigned i, unsigned n)
{
	while (n && !m->page[i].mapped)
		i++, n--;
	return !n;
}

// True: done, so the model follows. A walker's passing reference may be the reason for -EBUSY.
static bool done(struct model *m, int err, int expected)
{
	if (m->walkers && err == -EBUSY)
		return false;
	EXPECT_EQ(err, expected);
	return !err;
}

static void forget(struct model *m, unsigned i, unsigned n, bool mapped)
{
	for (; n; i++, n--)
		m->page[i] = (struct model_page){ .mapped = mapped, .writable = m->page[i].writable };
}

static void change_range(struct model *m, unsigned what, unsigned i, unsigned n)
{
	u64 len = n * PAGE_SIZE;
	bool writable = rand_next(&m->rng) & 1;

	if (what == 0 && done(m, space_map(m->s, address(i), len, RW, 1, 0), none_mapped(m, i, n) ? 0 : -EEXIST)) {
		forget(m, i, n, true);
		for (unsigned k = i; k < i + n; k++)
			m->page[k].writable = true;
	} else if (what == 1 && done(m, space_unmap(m->s, address(i), len), 0)) {
		forget(m, i, n, false);
	} else if (what == 2 && done(m, space_discard(m->s, address(i), len), 0)) {
		for (unsigned k = i; k < i + n; k++)
			m->page[k].stamp = 0;
	} else if (what == 3 && done(m, space_protect(m->s, address(i), len, writable ? RW : PROT_R),
				     all_mapped(m, i, n) ? 0 : -ENOENT)) {
		for (unsigned k = i; k < i + n; k++)
			m->page[k].writable = writable;
	}
}

static void change_slot(struct model *m, unsigned what, unsigned from)
{
	unsigned to = (from + 1) % SLOTS, a = from * PT_ENTRIES, b = to * PT_ENTRIES;
	int err;

	if (what == 4) {
		err = space_collapse(m->s, address(a));
		EXPECT(!err || err == -ENOENT || err == -EEXIST || (m->walkers && err == -EBUSY));
		collapsed += !err;
		if (!err)
			EXPECT(all_mapped(m, a, PT_ENTRIES) && leaf_level(m->s, address(a)) == 2);
	} else if (what == 5) {
		err = space_split(m->s, address(a));
		EXPECT(!err || err == -ENOENT || (m->walkers && err == -EBUSY));
		split += !err;
	} else if (done(m, space_move(m->s, address(a), address(b), HUGE_SIZE),
			!all_mapped(m, a, PT_ENTRIES) ? -ENOENT : none_mapped(m, b, PT_ENTRIES) ? 0 : -EEXIST)) {
		moved++;
		memcpy(&m->page[b], &m->page[a], PT_ENTRIES * sizeof(m->page[0]));
		forget(m, a, PT_ENTRIES, false);
	}
}

static void write_page(struct model *m, unsigned i)
{
	u64 stamp = STAMP << 48 | ++m->stamps;
	struct model_page *p = &m->page[i];

	EXPECT_EQ(arch_user_write64(address(i), stamp), p->mapped && p->writable ? 0 : -EFAULT);
	if (p->mapped && p->writable)
		p->stamp = stamp;
}

// Biased towards whole slots, so that collapse and move find what they need.
static void step(struct model *m)
{
	unsigned what = rand_next(&m->rng) % 12, slot = rand_next(&m->rng) % SLOTS, i = slot * PT_ENTRIES, n = PT_ENTRIES;

	if (rand_next(&m->rng) % 3 == 0) {
		i = rand_next(&m->rng) % PAGES;
		n = 1 + rand_next(&m->rng) % MIN(PAGES - i, 40u);
	}
	if (what < 4) {
		change_range(m, what, i, n);
	} else if (what < 7) {
		change_slot(m, what, slot);
	} else if (what < 9) {		// all present, for the next collapse
		for (unsigned k = 0; k < PT_ENTRIES; k++)
			EXPECT(look_at(m, slot * PT_ENTRIES + k));
		change_slot(m, 4, slot);
	} else {
		for (unsigned k = 0; k < 8; k++)
			write_page(m, rand_next(&m->rng) % PAGES);
	}
	for (unsigned k = 0; k < 8; k++) {
		unsigned probe = rand_next(&m->rng) % PAGES;

		EXPECT(look_at(m, probe));
	}
}

static int judge(void *arg)
{
	struct model *m = arg;
	u64 rng = cpu_id() + 1, odd = 0;

	while (!READ_ONCE(m->stop)) {
		struct page *page;

		if (walk_pin_fast(m->s, address(rand_next(&rng) % PAGES), 1, false, &page)) {
			u64 v = READ_ONCE(*(u64 *)page_to_virt(page));

			odd += READ_ONCE(page_head(page)->kind) != PAGE_ANON || (v && v >> 48 != STAMP);
			page_unpin(page, false);
		}
		cpu_relax();
	}
	fetch_add(&m->odd, odd);
	return 0;
}

static void sequence(const struct table_policy *p, const struct flush_backend *b, unsigned steps, bool walkers)
{
	static struct model m;
	static struct thread *t[NR_CPUS];
	static u64 sequences;
	u64 violations = oracle_violations();
	struct mm_balance balance;

	mm_balance_begin(&balance);
	m = (struct model){ .s = space_create_with(p, b), .rng = test_seed() + ++sequences, .walkers = walkers };
	REQUIRE(m.s);
	space_attach(m.s);
	change_range(&m, 0, 0, 2 * PT_ENTRIES);
	for (unsigned i = 0; walkers && i + 1 < nr_cpus; i++)
		t[i] = mm_thread("judge", judge, &m, mm_other_cpu(i));
	for (unsigned i = 0; i < steps && !test_failed(); i++)
		step(&m);
	WRITE_ONCE(m.stop, 1);
	for (unsigned i = 0; walkers && i + 1 < nr_cpus; i++)
		mm_join(t[i]);
	for (unsigned i = 0; i < PAGES; i++)
		EXPECT(look_at(&m, i));
	if (test_failed())
		log_error("policy %s, sequence %llu of seed %llu", p->name, (unsigned long long)sequences,
			  (unsigned long long)test_seed());
	EXPECT_EQ(m.odd, 0);
	EXPECT_EQ(oracle_violations() - violations, 0);
	space_detach();
	space_put(m.s);
	mm_balance_end(&balance);
}

static void alone(const struct table_policy *p, const struct flush_backend *b) { sequence(p, b, 40, false); }
TEST(space_random, alone, 0)
{
	collapsed = split = moved = 0;
	under_each_pair(alone);
	EXPECT(collapsed && split && moved);
	log_info("collapsed %llu, split %llu, moved %llu", (unsigned long long)collapsed, (unsigned long long)split,
		 (unsigned long long)moved);
}

TEST(space_random, with_walkers, NEEDS_CPUS2)
{
	FOR_EACH_POLICY(p)
		if (pair_verdict(*p, flush_find("ipi")).safe)
			sequence(*p, flush_find("ipi"), 40, true);
}

// The end of a space that every CPU still holds, with a collapsed page and its deposit in it.
static int visit(void *arg)
{
	space_attach(arg);
	EXPECT_EQ(arch_user_write64(BASE + cpu_id() * PAGE_SIZE, 1), 0);
	space_detach();		// the CPU keeps the root
	return 0;
}

static void still_loaded(void *held)
{
	if (this_cpu_read(cpu_tlb.loaded))
		fetch_add((u32 *)held, 1);
}

static void exit_held(const struct table_policy *p, const struct flush_backend *b)
{
	struct mm_balance balance;
	struct space *s;
	u32 held = 0;

	mm_balance_begin(&balance);
	s = space_create_with(p, b);
	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, HUGE_SIZE, RW, 1, MAP_POPULATE), 0);
	EXPECT_EQ(space_collapse(s, BASE), 0);
	EXPECT_EQ(threads_run_on(&cpus_online, visit, s), 0);
	if (!b->defer)		// else a CPU that idles leaves by itself
		EXPECT_EQ(cpumask_weight(&s->cpus), nr_cpus);
	space_put(s);
	xcall_mask(&cpus_online, still_loaded, &held);
	EXPECT_EQ(held, 0);
	mm_balance_end(&balance);
}

TEST(space_huge, exit_of_a_held_space, 0) { under_each_pair(exit_held); }
