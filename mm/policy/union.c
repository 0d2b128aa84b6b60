// SPDX-License-Identifier: MIT
// The union of two disciplines: what walkers follow while a space's policy changes (switch.c). It does all that each of
// the two asks of a walker: enters the first, then the second; both must agree to each step; leaves in reverse order,
// so that the interrupt flag, as the second found it, is restored inside the first. Each has a state of its own, as if
// it were alone.
//
// Which two policies these are is read once, on entry: so a walker leaves what it has entered. The calls go through the
// policies' tables: so a new policy is part of every union without being named here, and only walks during a switch pay
// for it.
#include "mm/walk_body.h"

static __always_inline void union_enter(struct walk_state *w)
{
	for (int i = 0; i < 2; i++) {
		struct walk_state *part = &w->part[i];

		if (i)
			STALL(union_half, w->space, 0, 0);	// one of the record's two policies has been read
		*part = (struct walk_state){ .space = w->space, .policy = READ_ONCE(w->space->union_of[i]) };
		walk_hold(part->policy, part);
		if (part->policy->enter)
			part->policy->enter(part);
	}
}

static __always_inline bool union_step(struct walk_state *w, int level, const pte_t *entry, pte_t value)
{
	for (int i = 0; i < 2; i++) {
		struct walk_state *part = &w->part[i];

		part->restart = false;
		if (part->policy->step && !part->policy->step(part, level, entry, value)) {
			w->restart = part->restart;
			return false;
		}
	}
	return true;
}

static __always_inline void union_exit(struct walk_state *w)
{
	for (int i = 1; i >= 0; i--) {
		if (w->part[i].policy->exit)
			w->part[i].policy->exit(&w->part[i]);
		walk_let_go(w->part[i].policy, &w->part[i]);
	}
	if (CHECK)
		count(walks_union);
}

DECLARE_WALK(union);

// A walker's context is the stronger of the two parts', at least this one. The union distrusts what it reads, because
// either part may.
const struct table_policy policy_union = {
	.name = "union",
	.lineage = "both disciplines during a switch",
	.walker = WALKER_PREEMPT_OFF,
	.combines = true,
	.distrusts = true,
	.enter = union_enter,
	.step = union_step,
	.exit = union_exit,
	.walk = union_walk,
	.walk_one = { union_walk_read, union_walk_write },
};

DEFINE_WALK(union, policy_union);
