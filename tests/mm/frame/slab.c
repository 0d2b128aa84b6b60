// SPDX-License-Identifier: MIT
// Small objects: alignment, reuse, frees across CPUs, frames given back, misuse reported.
#include "kernel/lib.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "lab/inject.h"
#include "lab/test.h"
#include "mm/frame/page.h"
#include "mm/frame/slab.h"
#include "tests/mm/frame/page/help.h"

#define SIZE 72		// of the objects of the shared cache

// Caches cannot be destroyed, so all tests but the one of alignments share one.
static struct slab_cache *cache(void)
{
	static struct slab_cache *c;

	if (!c)
		c = slab_create("test", SIZE, 8);
	return c;
}

static bool filled_with(const u8 *p, u8 byte, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != byte)
			return false;
	return true;
}

TEST(slab, size_and_alignment, 0)
{
	static const u16 shapes[][2] = {
		{ 1, 1 }, { 24, 8 }, { 40, 16 }, { 100, 64 }, { 520, 256 }, { 3000, 8 }, { 64, 4096 }, { 16384, 8 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++) {
		struct slab_cache *c = slab_create("test-shape", shapes[i][0], shapes[i][1]);
		u8 *obj[20];
		bool ok = true;

		REQUIRE(c);
		for (unsigned j = 0; j < ARRAY_SIZE(obj); j++) {
			obj[j] = slab_alloc(c);
			REQUIRE(obj[j]);
			EXPECT_EQ((uintptr_t)obj[j] % shapes[i][1], 0);
			memset(obj[j], (int)j, shapes[i][0]);
		}
		EXPECT_EQ(slab_in_use(c), ARRAY_SIZE(obj));
		for (unsigned j = 0; j < ARRAY_SIZE(obj); j++) {
			ok = ok && filled_with(obj[j], (u8)j, shapes[i][0]);
			slab_free(c, obj[j]);
		}
		EXPECT(ok);		// no two overlap
		EXPECT_EQ(slab_in_use(c), 0);
	}
	EXPECT(!slab_create("test-bad", 0, 8));
	EXPECT(!slab_create("test-bad", 1 << 20, 8));
	EXPECT(!slab_create("test-bad", 8, 24));
	slab_shrink();
}

TEST(slab, reuse, 0)
{
	void *a, *b;

	preempt_disable();
	a = slab_alloc(cache());
	if (a)
		slab_free(cache(), a);
	b = slab_alloc(cache());
	preempt_enable();
	REQUIRE(a && b);
	EXPECT(a == b);		// the warmest object first
	slab_free(cache(), b);
}

TEST(slab, shrink_returns_all_frames, 0)
{
	enum { N = 2000 };
	void **objs = kmalloc(N * sizeof(void *));
	u64 before;
	unsigned n;

	REQUIRE(objs);
	before = page_balance_start();
	for (int round = 0; round < 2; round++) {
		for (n = 0; n < N && (objs[n] = slab_alloc(cache())); n++)
			;
		EXPECT_EQ(n, N);
		EXPECT_EQ(slab_in_use(cache()), n);
		EXPECT(page_free_count() < before);
		for (unsigned i = 0; i < n; i++)	// even, then odd ones: slabs become partial, then empty
			slab_free(cache(), objs[i * 2 < n ? i * 2 : (i * 2 - n) | 1]);
		EXPECT_EQ(slab_in_use(cache()), 0);
		EXPECT(page_balanced(before));
	}
	EXPECT(page_check());
	kfree(objs);
}

TEST(slab, kmalloc_sizes, 0)
{
	u64 before;

	before = page_balance_start();
	for (size_t size = 1; size <= 1 << 20; size = size < 64 ? size + 7 : size * 3 / 2) {
		u8 *p = kmalloc(size), *q = kzalloc(size);

		REQUIRE(p && q);
		EXPECT_EQ((uintptr_t)p % (size >= 64 ? 64 : 8), 0);
		EXPECT(filled_with(q, 0, size));
		memset(p, 0x11, size);
		memset(q, 0x22, size);
		EXPECT(p[0] == 0x11 && p[size - 1] == 0x11);
		kfree(q);
		kfree(p);
	}
	for (unsigned shift = 3; shift <= 20; shift++) {
		void *p = kmalloc(1ull << shift);

		EXPECT(p);
		kfree(p);
	}
	EXPECT(!kmalloc((1 << 20) + 1));
	EXPECT(!kmalloc(~0ull));
	kfree(NULL);
	kfree(kmalloc(0));
	EXPECT(page_balanced(before));
}

TEST(slab, interrupts_off, 0)
{
	irqflags_t flags = irq_save();
	void *a = kmalloc(100), *b = slab_alloc(cache());

	kfree(a);
	if (b)
		slab_free(cache(), b);
	EXPECT(!irqs_enabled());
	irq_restore(flags);
	EXPECT(a && b);
}

TEST(slab, injected_failures, NEEDS_CHECK)
{
	static const size_t sizes[] = { 10, 2048, 2049, 100000 };
	void *p;

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		slab_shrink();			// so that a slab must be allocated too, which is not counted
		inject_alloc_failure(2);
		p = kmalloc(sizes[i]);
		EXPECT(p);
		EXPECT(!kmalloc(sizes[i]));	// each allocation is asked once whether to fail
		EXPECT(inject_fired());
		kfree(p);
		p = kmalloc(sizes[i]);
		inject_alloc_failure(0);
		EXPECT(p);
		kfree(p);
	}
	inject_alloc_failure(1);
	EXPECT(!slab_alloc(cache()));
	inject_alloc_failure(0);
	EXPECT_EQ(slab_in_use(cache()), 0);
}

static u32 errors;
static void note_error(const char *what, const void *object) { fetch_add(&errors, 1); }

TEST(slab, misuse_is_reported, NEEDS_CHECK)
{
	struct slab_cache *own = slab_create("test-misuse", SIZE, 8);	// one object is lost
	u8 *a, *b = kmalloc(48), *big = kmalloc(8192), *c;

	REQUIRE(own && b && big);
	a = slab_alloc(own);
	REQUIRE(a);
	WRITE_ONCE(errors, 0);
	WRITE_ONCE(alloc_error_hook, note_error);
	preempt_disable();
	slab_free(own, b);			// of another cache
	EXPECT_EQ(READ_ONCE(errors), 1);
	slab_free(own, a + 8);		// not an object's start
	EXPECT_EQ(READ_ONCE(errors), 2);
	kfree(big + PAGE_SIZE);
	EXPECT_EQ(READ_ONCE(errors), 3);
	a[SIZE] ^= 1;				// one byte too far
	slab_free(own, a);
	EXPECT_EQ(READ_ONCE(errors), 4);
	a[SIZE] ^= 1;
	slab_free(own, a);
	EXPECT_EQ(READ_ONCE(errors), 4);
	slab_free(own, a);			// twice
	EXPECT_EQ(READ_ONCE(errors), 5);
	a[5] = 1;				// after it was freed
	c = slab_alloc(own);
	EXPECT_EQ(READ_ONCE(errors), 6);
	EXPECT(!c);				// that object stays out of circulation …
	preempt_enable();
	WRITE_ONCE(alloc_error_hook, NULL);
	c = slab_alloc(own);		// … and others can still be allocated
	EXPECT(c && c != a);
	if (c)
		slab_free(own, c);
	kfree(b);
	kfree(big);
}

// Each CPU allocates objects, stamps them and exchanges them through shared places; it checks and frees what it gets in
// exchange.
#define EXCHANGE 64
#define STRESS_ROUNDS 500	// at least, on each CPU, however late it starts
static u64 *exchange[EXCHANGE];
static u64 stress_until, passed;

static void fill(u64 *obj, size_t size, u64 value)
{
	obj[0] = size;
	for (size_t i = 1; i < size / 8; i++)
		obj[i] = value ^ i;
	obj[1] = value;
}

static bool intact(const u64 *obj)
{
	for (size_t i = 2; i < obj[0] / 8; i++)
		if (obj[i] != (obj[1] ^ i))
			return false;
	return true;
}

static int stress(void *unused)
{
	u64 seed = test_seed() ^ cpu_id() * 0x9e3779b97f4a7c15ull;
	int bad = 0;

	for (unsigned round = 0; stress_until && (round < STRESS_ROUNDS || now_ns() < stress_until); round++) {
		size_t size = 16 + 8 * (rand_next(&seed) % (rand_next(&seed) % 16 ? 40 : 600));
		u64 *obj = kmalloc(size);

		if (!obj)
			continue;
		fill(obj, size, rand_next(&seed));
		obj = xchg(&exchange[rand_next(&seed) % EXCHANGE], obj);
		if (!obj)
			continue;
		bad += !intact(obj);
		kfree(obj);
		fetch_add_relaxed(&passed, 1);
	}
	return bad;
}

TEST(slab, stress_across_cpus, 0)
{
	struct cpumask all = { 0 };
	u64 before;

	for (unsigned cpu = 0; cpu < MIN(nr_cpus, STRESS_CPUS); cpu++)
		cpumask_set(&all, cpu);
	stress_until = 0;
	EXPECT_EQ(threads_run_on(&all, stress, NULL), 0);	// the threads' memory is allocated now
	before = page_balance_start();
	passed = 0;
	stress_until = now_ns() + 300 * NSEC_PER_MSEC;
	EXPECT_EQ(threads_run_on(&all, stress, NULL), 0);
	for (unsigned i = 0; i < EXCHANGE; i++) {
		if (exchange[i])
			EXPECT(intact(exchange[i]));
		kfree(exchange[i]);
		exchange[i] = NULL;
	}
	EXPECT(READ_ONCE(passed) > 0);
	EXPECT(page_balanced(before));
	EXPECT(page_check());
}
