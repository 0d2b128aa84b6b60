// SPDX-License-Identifier: MIT
#include "tests/proc/futex/sleepers.h"
#include "lab/test.h"
#include "mm/space.h"

struct space *futex_space(void)
{
	struct space *s = space_create();

	if (!EXPECT(s))
		return NULL;
	space_attach(s);
	EXPECT_EQ(space_map(s, BASE, 4 * PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	return s;
}

void futex_space_end(struct space *s)
{
	EXPECT_EQ(futex_waiters(), 0);
	space_detach();
	space_put(s);
}

u32 word_read(vaddr_t va)
{
	u32 v = 0;

	EXPECT_EQ(arch_user_read32_nofault(va, &v), 0);
	return v;
}

u32 word_cmpxchg(vaddr_t va, u32 expected, u32 v)
{
	u32 old = 0;

	EXPECT_EQ(arch_user_cmpxchg32_nofault(va, expected, v, &old), 0);
	return old;
}

u32 word_xchg(vaddr_t va, u32 v)
{
	for (u32 old = word_read(va), found;; old = found) {
		found = word_cmpxchg(va, old, v);
		if (found == old)
			return old;
	}
}

static int wait_once(void *arg)
{
	struct sleeper *w = arg;

	space_attach(w->s);
	w->result = futex_wait(w->va, w->shared, w->expected, w->bitset, w->deadline);
	space_detach();
	return 0;
}

void sleeper_start_as(struct sleeper *w, unsigned cpu)
{
	w->t = thread_create("sleeper", wait_once, w, cpu, PRIO_NORMAL);
	EXPECT(w->t);
}

void sleeper_start(struct sleeper *w, struct space *s, vaddr_t va, unsigned cpu)
{
	*w = (struct sleeper){ .s = s, .va = va, .bitset = FUTEX_ANY, .deadline = NO_DEADLINE };
	sleeper_start_as(w, cpu);
}

// The page is present and nobody else takes the space's lock: a sleeper sleeps nowhere else.
void sleeper_asleep(struct sleeper *w)
{
	if (w->t)
		EXPECT(EVENTUALLY(READ_ONCE(w->t->state) == THREAD_SLEEPING));
}

s64 sleeper_end(struct sleeper *w)
{
	if (w->t)
		thread_join(w->t);
	w->t = NULL;
	return w->result;
}
