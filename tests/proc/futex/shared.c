// SPDX-License-Identifier: MIT
// Shared futexes: all mappings of an object lead to the same waiters, whatever becomes of a mapping or a frame.
#include "kernel/errno.h"
#include "kernel/lib.h"
#include "lab/test.h"
#include "mm/map.h"
#include "mm/object.h"
#include "tests/proc/futex/sleepers.h"

#define LEN (4 * PAGE_SIZE)
#define HERE (BASE + 16 * PAGE_SIZE)	// the object from its beginning
#define THERE (BASE + 32 * PAGE_SIZE)	// from its second page on
#define ELSEWHERE (BASE + 48 * PAGE_SIZE)
#define WORD_HERE (HERE + PAGE_SIZE + 8)
#define WORD_THERE (THERE + 8)		// the same

static int map_object(struct space *s, struct object *o, vaddr_t va, u64 offset, unsigned prot)
{
	struct region_kind kind = { .prot = (u8)prot, .level = 1, .flags = REGION_SHARED, .object = o, .offset = offset };

	return space_map_kind(s, va, LEN - offset, &kind);
}

static struct space *space_with_object(struct object **object)
{
	struct space *s = futex_space();
	struct object *o = s ? object_create(LEN) : NULL;

	if (!EXPECT(o))
		return NULL;
	*object = o;
	EXPECT_EQ(map_object(s, o, HERE, 0, RW), 0);
	EXPECT_EQ(map_object(s, o, THERE, PAGE_SIZE, RW), 0);
	EXPECT_EQ(arch_user_write64(WORD_HERE, 0), 0);
	return s;
}

static void end(struct space *s, struct object *o)
{
	futex_space_end(s);
	object_put(o);
}

static void sleep_here(struct sleeper *w, struct space *s, bool shared)
{
	*w = (struct sleeper){ .s = s, .va = WORD_HERE, .bitset = FUTEX_ANY, .shared = shared, .deadline = NO_DEADLINE };
	sleeper_start_as(w, nr_cpus - 1);
	sleeper_asleep(w);
}

TEST(futex, mappings_of_an_object, 0)
{
	struct object *o;
	struct space *s = space_with_object(&o);
	struct sleeper w;

	REQUIRE(s);
	sleep_here(&w, s, true);
	EXPECT_EQ(futex_wake(WORD_HERE, false, 9, FUTEX_ANY), 0);	// private: (space, address)
	EXPECT_EQ(futex_wake(WORD_THERE + 4, true, 9, FUTEX_ANY), 0);
	EXPECT_EQ(futex_wake(WORD_THERE + PAGE_SIZE, true, 9, FUTEX_ANY), 0);
	EXPECT_EQ(futex_wake(WORD_THERE, true, 9, FUTEX_ANY), 1);
	EXPECT_EQ(sleeper_end(&w), 0);
	sleep_here(&w, s, false);
	EXPECT_EQ(futex_wake(WORD_THERE, false, 9, FUTEX_ANY), 0);
	EXPECT_EQ(futex_wake(WORD_HERE, true, 9, FUTEX_ANY), 0);
	EXPECT_EQ(futex_wake(WORD_HERE, false, 9, FUTEX_ANY), 1);
	EXPECT_EQ(sleeper_end(&w), 0);
	end(s, o);
}

// The waiter sleeps on while its mapping moves, is mapped anew, or goes away.
TEST(futex, mapping_leaves_its_waiter, 0)
{
	struct object *o;
	struct space *s = space_with_object(&o);
	struct sleeper w;

	REQUIRE(s);
	sleep_here(&w, s, true);
	EXPECT_EQ(space_move(s, HERE, ELSEWHERE, LEN), 0);
	EXPECT_EQ(futex_wake(WORD_HERE, true, 9, FUTEX_ANY), -EFAULT);
	EXPECT_EQ(futex_wake(ELSEWHERE + PAGE_SIZE + 8, true, 9, FUTEX_ANY), 1);
	EXPECT_EQ(sleeper_end(&w), 0);

	EXPECT_EQ(map_object(s, o, HERE, 0, RW), 0);
	sleep_here(&w, s, true);
	EXPECT_EQ(space_unmap(s, HERE, LEN), 0);
	EXPECT_EQ(space_map(s, HERE, LEN, RW, 1, 0), 0);		// private memory in its place
	EXPECT_EQ(futex_wake(WORD_HERE, true, 9, FUTEX_ANY), 0);
	EXPECT_EQ(space_discard(s, THERE, LEN - PAGE_SIZE), 0);
	EXPECT_EQ(futex_wake(WORD_THERE, true, 9, FUTEX_ANY), 1);
	EXPECT_EQ(sleeper_end(&w), 0);
	end(s, o);
}

TEST(futex, read_only_object, 0)
{
	struct object *o;
	struct space *s = space_with_object(&o);
	struct sleeper w;

	REQUIRE(s);
	EXPECT_EQ(space_protect(s, THERE, LEN - PAGE_SIZE, PROT_R), 0);
	sleep_here(&w, s, true);
	EXPECT_EQ(futex_wait(WORD_THERE, true, 0, FUTEX_ANY, 0), -ETIMEDOUT);
	EXPECT_EQ(futex_wake_op(WORD, WORD_THERE, true, 1, 1, 0), -EFAULT);
	EXPECT_EQ(futex_requeue(WORD_THERE, WORD, true, 0, 9, NULL), 1);
	EXPECT_EQ(futex_wake(WORD, true, 9, FUTEX_ANY), 1);
	EXPECT_EQ(sleeper_end(&w), 0);
	EXPECT_EQ(space_protect(s, THERE, LEN - PAGE_SIZE, 0), 0);
	EXPECT_EQ(futex_wake(WORD_THERE, true, 1, FUTEX_ANY), -EFAULT);
	end(s, o);
}

// A mutex in the object. Its users call by either mapping, one of which comes and goes: they then take the other.
struct shared_storm {
	struct space *s;
	struct object *o;
	u64 seed, count;
	u32 rounds, running;
};

static vaddr_t either(struct shared_storm *st)
{
	u64 r = fetch_add(&st->seed, 0x9e3779b97f4a7c15);

	return rand_next(&r) % 2 ? WORD_HERE : WORD_THERE;
}

static void storm_lock(struct shared_storm *st)
{
	while (word_xchg(WORD_HERE, 1))
		if (futex_wait(either(st), true, 1, FUTEX_ANY, NO_DEADLINE) == -EFAULT)
			futex_wait(WORD_HERE, true, 1, FUTEX_ANY, NO_DEADLINE);
}

static void storm_unlock(struct shared_storm *st)
{
	word_xchg(WORD_HERE, 0);
	if (futex_wake(either(st), true, 1, FUTEX_ANY) == -EFAULT)
		futex_wake(WORD_HERE, true, 1, FUTEX_ANY);
}

static int storm_user(void *arg)
{
	struct shared_storm *st = arg;

	space_attach(st->s);
	for (u32 i = 0; i < st->rounds; i++) {
		storm_lock(st);
		WRITE_ONCE(st->count, st->count + 1);
		if (i % 4 == 0)
			thread_yield();
		storm_unlock(st);
	}
	space_detach();
	fetch_sub(&st->running, 1);
	return 0;
}

static int storm_remapper(void *arg)
{
	struct shared_storm *st = arg;
	int err = 0;

	while (READ_ONCE(st->running) && !err) {
		err = space_unmap(st->s, THERE, LEN - PAGE_SIZE) ?: map_object(st->s, st->o, THERE, PAGE_SIZE, RW);
		thread_yield();
	}
	return err;
}

TEST(futex, shared_while_remapped, 0)
{
	struct shared_storm st = { .seed = test_seed(), .rounds = 10 + 200 / nr_cpus, .running = nr_cpus };
	struct thread *remapper;

	st.s = space_with_object(&st.o);
	REQUIRE(st.s);
	remapper = thread_create("remapper", storm_remapper, &st, CPU_ANY, PRIO_NORMAL);
	EXPECT_EQ(threads_run_on(&cpus_online, storm_user, &st), 0);
	if (EXPECT(remapper))
		EXPECT_EQ(thread_join(remapper), 0);
	EXPECT_EQ(st.count, (u64)st.rounds * nr_cpus);
	end(st.s, st.o);
}
