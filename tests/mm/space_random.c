// SPDX-License-Identifier: MIT
// Random sequences of every operation against a model that is too simple to be wrong (model/model.h); alone, and with
// walkers on the other CPUs that judge what they pin. The fuzzer (tests/fuzz) takes the same steps.
#include "kernel/lib.h"
#include "kernel/panic.h"
#include "lab/oracle.h"
#include "lab/test.h"
#include "mm/walk.h"
#include "tests/mm/help.h"
#include "tests/mm/model/steps.h"
#include "tests/mm/stamps.h"

#define STEPS 40

// Each of these operations must be tried, so every sequence begins with them: in an empty space each has its effect,
// whatever slots are drawn.
static const enum step_op tour[] = {
	STEP_POPULATE, STEP_PROTECT, STEP_COLLAPSE, STEP_SPLIT, STEP_MOVE, STEP_PIN, STEP_SWITCH, STEP_DISCARD_AROUND,
	STEP_READ, STEP_UNMAP, STEP_MAP_OVER, STEP_LOCK, STEP_FILL, STEP_REMAP,
};
#define ALL_STEPS (ARRAY_SIZE(tour) + STEPS)

struct sequence {
	struct steps st;
	u8 bytes[ALL_STEPS * STEP_BYTES];
	u32 stop;
	u64 odd;
};

// Choose a safe pair, by the two bytes of a switch: the first safe one from a random place on.
static void draw_safe_pair(u8 *bytes, u64 r)
{
	for (unsigned i = 0; i < 1u << 16; i++, r++) {
		bytes[0] = (u8)r;
		bytes[1] = (u8)(r >> 8);
		if (pair_verdict(steps_policy(bytes[0]), steps_backend(bytes[1])).safe)
			return;
	}
	panic("no pair is safe");
}

static void draw_tour(u8 *bytes, u64 *rng)
{
	u64 r = rand_next(rng);
	unsigned slot = (unsigned)(r % MODEL_SLOTS), to = (slot + 1 + (unsigned)(r >> 8) % (MODEL_SLOTS - 1)) % MODEL_SLOTS;

	for (unsigned i = 0; i < ARRAY_SIZE(tour); i++, bytes += STEP_BYTES) {
		bytes[0] = tour[i];
		bytes[1] = STEP_WHERE(slot, STEP_SLOT);
		bytes[2] = 0;
		bytes[3] = tour[i] == STEP_PROTECT || tour[i] == STEP_MAP_OVER ? RW : 0;
		if (tour[i] == STEP_SWITCH)
			draw_safe_pair(bytes + 2, rand_next(rng));
		if (tour[i] == STEP_MOVE) {
			bytes[2] = (u8)to;
			slot = to;
		}
	}
}

// Biased towards whole slots, and towards operations that build on each other: a collapse finds a slot complete, a
// split finds it collapsed. Half of all steps take place in two slots.
static void draw(u8 *bytes, u64 *rng)
{
	static const u8 chains[][3] = {
		{ STEP_UNMAP, STEP_POPULATE, STEP_COLLAPSE }, { STEP_POPULATE, STEP_COLLAPSE, STEP_SPLIT },
		{ STEP_POPULATE, STEP_MOVE, STEP_DISCARD_AROUND }, { STEP_UNMAP, STEP_MAP_LARGE, STEP_TOUCH },
		{ STEP_POPULATE, STEP_COLLAPSE, STEP_WRITE }, { STEP_POPULATE, STEP_PIN, STEP_WRITE_PIN },
		{ STEP_UNMAP, STEP_MAP, STEP_PROTECT }, { STEP_POPULATE, STEP_MOVE, STEP_READ },
		{ STEP_POPULATE, STEP_COLLAPSE, STEP_REMAP }, { STEP_MAP_OVER, STEP_FILL, STEP_REMAP },
	};
	unsigned chain = 0, at = ARRAY_SIZE(chains[0]), slot = 0, shape = 0;

	for (unsigned i = 0; i < STEPS; i++, bytes += STEP_BYTES) {
		u64 r = rand_next(rng);

		if (at < ARRAY_SIZE(chains[0])) {
			bytes[0] = chains[chain][at++];
		} else {
			bytes[0] = (u8)(r % STEP_OPS);
			chain = r >> 8 & 0xff;
			slot = (unsigned)(r >> 16) % (r >> 24 & 1 ? MODEL_SLOTS : 2);
			shape = r >> 25 & 3;
			if (chain < ARRAY_SIZE(chains) * 16) {
				chain /= 16;
				at = 1;
				bytes[0] = chains[chain][0];
				shape = STEP_SLOT;
			}
		}
		bytes[1] = STEP_WHERE(slot, shape);
		bytes[2] = (u8)(r >> 32);
		bytes[3] = (u8)(r >> 40);
	}
}

static void draw_sequence(struct sequence *q, u64 *rng)
{
	draw_tour(q->bytes, rng);
	draw(q->bytes + ARRAY_SIZE(tour) * STEP_BYTES, rng);
}

static int judge(void *arg)
{
	struct sequence *q = arg;
	u64 rng = cpu_id() + 1, odd = 0;

	while (!READ_ONCE(q->stop)) {
		struct page *page;

		if (walk_pin_fast(q->st.s, model_va(rand_next(&rng) % MODEL_PAGES), 1, false, &page)) {
			u64 v = READ_ONCE(*(u64 *)page_to_virt(page));

			odd += READ_ONCE(page_head(page)->kind) != PAGE_ANON || (v && v >> 48 != STEP_STAMP);
			page_unpin(page, false);
		}
		cpu_relax();
	}
	fetch_add(&q->odd, odd);
	return 0;
}

static void print_bytes(const struct sequence *q)
{
	for (unsigned i = 0; i < ALL_STEPS; i++)
		log_error("  step %u: %s %02x %02x %02x", i, steps_name(q->bytes[i * STEP_BYTES]), q->bytes[i * STEP_BYTES + 1],
			  q->bytes[i * STEP_BYTES + 2], q->bytes[i * STEP_BYTES + 3]);
}

static void sequence(const struct table_policy *p, const struct flush_backend *b, bool walkers)
{
	static struct sequence q;
	static struct model m;
	static struct thread *t[NR_CPUS];
	static u64 sequences;
	u64 violations = oracle_violations(), rng = test_seed() + ++sequences;
	struct mm_balance balance;

	mm_balance_begin(&balance);
	q = (struct sequence){ .st = { .m = &m, .walkers = walkers, .failures = CHECK && !walkers } };
	q.st.s = space_create_with(p, b);
	REQUIRE(q.st.s);
	model_reset(&m);
	draw_sequence(&q, &rng);
	space_attach(q.st.s);
	for (unsigned i = 0; walkers && i + 1 < nr_cpus; i++)
		t[i] = mm_thread("judge", judge, &q, mm_other_cpu(i));
	steps_run(&q.st, q.bytes, sizeof(q.bytes));
	WRITE_ONCE(q.stop, 1);
	for (unsigned i = 0; walkers && i + 1 < nr_cpus; i++)
		mm_join(t[i]);
	steps_end(&q.st);
	for (unsigned i = 0; i < ARRAY_SIZE(tour) && !walkers; i++)	// a walker's passing reference makes a page busy
		if (!EXPECT(q.st.done[tour[i]]))
			log_error("%s never had its effect", steps_name(tour[i]));
	if (test_failed()) {
		log_error("policy %s with %s, seed %llu", p->name, b->name, (unsigned long long)test_seed());
		print_bytes(&q);
	}
	EXPECT_EQ(q.odd, 0);
	EXPECT_EQ(oracle_violations() - violations, 0);
	space_detach();
	space_put(q.st.s);
	mm_balance_end(&balance);
}

static void alone(const struct table_policy *p, const struct flush_backend *b) { sequence(p, b, false); }

TEST(space_random, alone, 0) { under_each_pair(alone); }

TEST(space_random, with_walkers, NEEDS_CPUS2)
{
	FOR_EACH_POLICY(p)
		if (pair_verdict(*p, flush_find("ipi")).safe)
			sequence(*p, flush_find("ipi"), true);
}
