// SPDX-License-Identifier: MIT
// Stall points: off -> armed (stall_arm) -> taken (the first CPU that matches) -> off. `armed` is that state; the CPU
// that wins the exchange armed -> taken owns the visit. The word also holds a number of the arming: a CPU that has
// matched the condition of an earlier arming must not win the exchange of this one.
#include "lab/stall.h"
#include "kernel/cmdline.h"
#include "kernel/cpumask.h"
#include "kernel/lib.h"
#include "kernel/time.h"
#include "lab/test.h"

#if CHECK
enum { STALL_OFF, STALL_ARMED, STALL_TAKEN, STALL_STATES };
static u32 stall_state(u32 armed) { return armed % STALL_STATES; }

// The condition may be changing, if the point is being disarmed and armed again: then stall_hit()'s exchange fails.
static bool stall_matches(const struct stall_point *p, const void *space, u64 va, int level)
{
	const void *of = READ_ONCE(p->space);
	u64 lo = READ_ONCE(p->va_lo), hi = READ_ONCE(p->va_hi);
	int only_level = READ_ONCE(p->level), cpu = READ_ONCE(p->cpu);

	return (!of || of == space) && ((!lo && !hi) || (va >= lo && va < hi)) && (!only_level || only_level == level) &&
	       (cpu < 0 || cpu == (int)cpu_id());
}

void stall_hit(struct stall_point *here, const void *space, u64 va, int level)
{
	struct stall_point *p = load_acquire(&here->armed_as);	// pairs with mark_all()
	u32 armed;

	if (!p)
		return;			// disarmed since STALL() looked
	armed = load_acquire(&p->armed);	// pairs with stall_arm()'s release: the condition is complete
	if (stall_state(armed) != STALL_ARMED || !stall_matches(p, space, va, level) ||
	    !cmpxchg(&p->armed, armed, armed - STALL_ARMED + STALL_TAKEN))
		return;
	fetch_add(&p->hits, 1);
	if (p->action) {
		p->action(p, p->arg);
	} else {
		store_release(&p->parked, 1u);
		spin_until(load_acquire(&p->released), p->name, -1);
		WRITE_ONCE(p->parked, 0);
	}
	store_release(&p->armed, (u32)STALL_OFF);	// the last touch: stall_release() waits for it
}

static struct stall_point nowhere = { .name = "no such name", .cpu = -1 };

static struct stall_point *leader(const char *name)
{
	FOR_EACH_STALL_POINT(p)
		if (!strcmp((*p)->name, name))
			return *p;
	return NULL;
}

void stall_init(void)
{
	FOR_EACH_REGISTERED(stall_points, struct stall_point, p) {
		struct stall_point *first = leader((*p)->name);

		if (!first) {
			(*p)->leads = true;
		} else {
			(*p)->same = first->same;
			first->same = *p;
		}
	}
}

struct stall_point *stall_point(const char *name)
{
	struct stall_point *p = leader(name);

	if (!p)
		test_fail(__FILE__, __LINE__, "there is no stall point %s", name);
	return p ? p : &nowhere;
}

static void mark_all(struct stall_point *p, struct stall_point *armed_as)
{
	for (; p; p = p->same)
		store_release(&p->armed_as, armed_as);	// pairs with stall_hit()
}

void stall_arm(struct stall_point *p, const void *space, u64 va_lo, u64 va_hi, int level)
{
	WRITE_ONCE(p->space, space);
	WRITE_ONCE(p->va_lo, va_lo);
	WRITE_ONCE(p->va_hi, va_hi);
	WRITE_ONCE(p->level, level);
	p->hits = 0;
	p->parked = 0;
	p->released = 0;
	store_release(&p->armed, ++p->turn % (UINT32_MAX / STALL_STATES) * STALL_STATES + STALL_ARMED);
	mark_all(p, p);
}

void stall_wait_parked(struct stall_point *p)
{
	if (p != &nowhere)
		spin_until(load_acquire(&p->parked), p->name, -1);
}

void stall_release(struct stall_point *p)
{
	u32 armed = READ_ONCE(p->armed);

	if (stall_state(armed) != STALL_ARMED || !cmpxchg(&p->armed, armed, (u32)STALL_OFF)) {	// a CPU has come by
		store_release(&p->released, 1u);
		spin_until(load_acquire(&p->armed) == STALL_OFF, p->name, -1);
	}
	mark_all(p, NULL);
	p->action = NULL;
	p->arg = NULL;
	WRITE_ONCE(p->cpu, -1);
}

enum { PASSAGES_PER_TURN = 16 };
enum { LONGEST_SHIFT = 6 };			// 65 us
static DEFINE_PER_CPU(u64, draws);	// the generator's state; 0: not begun. An interrupt or preemption costs a draw
static DEFINE_PER_CPU(u64, lingered);	// how often; one may be lost to an interrupt or a preemption
static u32 passages_per_linger;			// 0: no CPU lingers

void stall_linger(unsigned passages) { WRITE_ONCE(passages_per_linger, passages); }

u64 stall_lingered(void)
{
	u64 n = 0;

	for_each_cpu(cpu)
		n += READ_ONCE(per_cpu(lingered, cpu));
	return n;
}

// For a random time, each order of magnitude equally often.
static void stay(u64 random)
{
	u64 *n = this_cpu_ptr(&lingered), end = now_ns() + ((random & 1023) << (random >> 32) % (LONGEST_SHIFT + 1));

	WRITE_ONCE(*n, *n + 1);
	while (now_ns() < end)
		cpu_relax();
}

void stall_passed(void)
{
	u64 *state = this_cpu_ptr(&draws), random;
	u32 passages = READ_ONCE(passages_per_linger);
	bool turns = arch_cycles_are_instructions();

	if (likely(!turns && !passages))
		return;
	if (unlikely(!*state))
		*state = opt_seed + cpu_id() + 1;
	random = rand_next(state);
	if (turns && random % PASSAGES_PER_TURN == 0)
		cpu_relax();	// QEMU ends the turn there
	if (passages && (random >> 8) % passages == 0)
		stay(rand_next(state));
}
#endif
