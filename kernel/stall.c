// SPDX-License-Identifier: MIT
// Stall points: off -> armed (stall_arm) -> taken (the first CPU that matches) -> off. `armed` is that state; whoever
// wins the exchange armed -> taken owns the visit. The word also says which arming it is: a CPU that has matched the
// condition of an earlier one must not win the exchange of this one.
#include "kernel/stall.h"
#include "kernel/cmdline.h"
#include "kernel/lib.h"
#include "kernel/time.h"

enum { STALL_OFF, STALL_ARMED, STALL_TAKEN, STALL_STATES };
static u32 stall_state(u32 armed) { return armed % STALL_STATES; }

static bool stall_matches(const struct stall_point *p, const void *space, u64 va, int level)
{
	return (!p->space || p->space == space) && ((!p->va_lo && !p->va_hi) || (va >= p->va_lo && va < p->va_hi)) &&
	       (!p->level || p->level == level) && (p->cpu < 0 || p->cpu == (int)cpu_id());
}

void stall_hit(struct stall_point *p, const void *space, u64 va, int level)
{
	u32 armed = load_acquire(&p->armed);	// pairs with stall_arm()'s release: the condition is complete

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

void stall_arm(struct stall_point *p, const void *space, u64 va_lo, u64 va_hi, int level)
{
	p->space = space;
	p->va_lo = va_lo;
	p->va_hi = va_hi;
	p->level = level;
	p->hits = 0;
	p->parked = 0;
	p->released = 0;
	store_release(&p->armed, ++p->turn % (UINT32_MAX / STALL_STATES) * STALL_STATES + STALL_ARMED);
}

void stall_wait_parked(struct stall_point *p) { spin_until(load_acquire(&p->parked), p->name, -1); }

void stall_release(struct stall_point *p)
{
	u32 armed = READ_ONCE(p->armed);

	if (stall_state(armed) != STALL_ARMED || !cmpxchg(&p->armed, armed, (u32)STALL_OFF)) {	// else nobody came by
		store_release(&p->released, 1u);
		spin_until(load_acquire(&p->armed) == STALL_OFF, p->name, -1);
	}
	p->action = NULL;
	p->arg = NULL;
	p->cpu = -1;
}

#if CHECK
enum { PASSAGES_PER_TURN = 16 };
static DEFINE_PER_CPU(u64, draws);	// state of the generator; 0: not begun. An interrupt in the middle costs one draw

void stall_passed(void)
{
	u64 *state = this_cpu_ptr(&draws);

	if (likely(!arch_cycles_are_instructions()))
		return;
	if (unlikely(!*state))
		*state = opt_seed + cpu_id() + 1;
	if (rand_next(state) % PASSAGES_PER_TURN == 0)
		cpu_relax();	// QEMU ends the turn there
}
#endif
