// SPDX-License-Identifier: MIT
// Switching policy and back-end while the system runs.
//
//	state     a walker follows   tables are freed under    left by
//	-----     ----------------   ----------------------    -------
//	old       old                old                       (1) selector = union of old and new
//	joining   old or union       old                       (2) a grace period
//	union     union              old                       (3) freer and back-end = new, under the space's lock
//	moved     union              new; rest of old          (4) drain: the lazy flushes, then the old policy
//	drained   union              new                       (5) selector = new
//	leaving   union or new       new                       (6) a grace period
//	new       new                new
//
// Claim: in each state every walker follows the discipline on which every free under way relies. A union walker does
// all that both policies ask of a walker (policy/union.c), its context is the stronger of the two, and the flush goes to
// it if it goes to the walkers of one of them; so what holds for either policy's own walker holds for it.
// switch_state_verdict() computes this for each state from the same facts as pair_verdict(). A switch from a safe pair that
// would pass through an unsafe state is refused. A switch away from an unsafe pair is not: it ends something worse.
//
// Why the lines of the table are true:
//  (1) The record union_of[] is stored first, the selector after it with release; walkers read the selector with acquire.
//      So a walker that finds the union finds its two policies. It copies them on entry and leaves what it has entered.
//  (2) A walker reads the selector with preemption or interrupts off and leaves with it still off: it is an RCU reader from
//      before it reads until it has left, whatever the policy, on a remote CPU, in an interrupt handler or in an NMI
//      (rcu.c: handlers are readers; from idle they leave the idle state first). So after a grace period nobody follows
//      `old` alone. A CPU that is preempted in the middle of a walk delays this step, and nothing else: until then
//      tables are freed under the old policy, whose discipline that walker follows.
//  (3) A gather runs from begin to end under the space's lock, and reads freer and back-end there. The change takes the
//      same lock: no gather sees one of the two old and the other new, and all that were opened under old have ended.
//      `wait`, for tables that are reused, is called under the lock too.
//      Under the same lock the old policy lets go of what it holds of the space (its `leave`), so that no gather under
//      new finds anything of it. Empty tables that it kept linked go as after an unmap: unlinked now, flushed, and freed
//      under new, which all walkers follow. Tables that it has laid aside were unlinked and flushed long ago. But a
//      walker that read an entry before that may still be inside, and the new policy might free them at once, since no
//      flush is left that would wait for it. So they are freed under old, after a grace period, for which (4) waits.
//  (4) What such gathers left behind: flushes that a deferring back-end has not completed (they end in the old policy's
//      `free`, so they are drained first), and what the policy itself deferred. Strictly, a walker that begins after (5)
//      cannot reach any of it, because it was unlinked before (3). With the drain no policy needs that argument: while
//      one of its tables is not FREE, all walkers follow its discipline.
//  (5) Nobody frees under old any more, so nobody needs its discipline.
//  (6) The record may be overwritten only when no walker is left between its reading of the selector and that of the
//      record: otherwise that walker might combine halves of two records, and miss the policy that frees.
//
// A walker's own marks (the `ipi` policy's bit in the space's walker mask, a slot of `targeted` or `hazard`) are set by
// the part's enter or step, before the union reads what they protect, exactly as without a union; the marks of two
// policies are different words. hazard's restart is the union's restart: both parts make their steps anew. The union
// distrusts what it reads, because one of its parts may.
//
// Spaces. A space that is being created takes the default pair and its place in the list of all spaces in one step
// (space.c): either policy_switch_all() finds it, or it has begun with the new default. A space whose last user has gone
// is left alone: it has no walker, and space_destroy() goes on under the old pair, which it reads under the space's lock
// and which stays as it was. A switch holds a count of each space that it changes.
#include "mm/policy/switch.h"
#include "kernel/errno.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/panic.h"
#include "kernel/rcu/rcu.h"
#include "lab/mutant.h"
#include "lab/stall.h"
#include "lab/trace.h"
#include "mm/space.h"

const struct switch_state switch_states[NR_SWITCH_STATES] = {
	{ "joining", WALKS_OLD | WALKS_UNION, FREES_OLD },
	{ "union", WALKS_UNION, FREES_OLD },
	{ "moved", WALKS_UNION, FREES_OLD | FREES_NEW },
	{ "drained", WALKS_UNION, FREES_NEW },
	{ "leaving", WALKS_UNION | WALKS_NEW, FREES_NEW },
};

// ---- Is it safe? ----------------------------------------------------------------------------------------------------

static const struct policy_pair *first_pair(u8 set, const struct policy_pair *old, const struct policy_pair *new)
{
	return set & 1 ? old : new;
}

// A CPU that finds itself in space.cpus with interrupts on may be removed from it before they are off: a flush makes a
// lazy CPU leave the space (tlb.c). So in a union a part's promise counts only if the part itself keeps interrupts off.
static bool stays_target(const struct table_policy *part)
{
	return part->walkers_are_targets && part->walker == WALKER_IRQS_OFF;
}

// Is a walker of that one kind safe while tables are freed under the pair `f`? It must follow the discipline of f's
// policy, in a context at least as strong as that of the policy's own walkers; then the pair decides. What either part
// of a union does for its walkers is done for all walkers of the union.
static struct verdict walk_verdict(u8 walks, const struct policy_pair *f, const struct policy_pair *old,
				   const struct policy_pair *new)
{
	const struct table_policy *alone = walks == WALKS_OLD ? old->policy : new->policy;
	struct table_policy walked = *f->policy;

	if (walks == WALKS_UNION) {
		walked.walker = MAX(old->policy->walker, new->policy->walker);
		walked.walkers_are_targets = stays_target(old->policy) || stays_target(new->policy);
	} else if (alone != f->policy) {
		return (struct verdict){ false, "a walker does not follow the discipline of the policy that frees" };
	}
	return pair_verdict(&walked, f->backend);
}
_Static_assert(WALKER_IRQS_OFF > WALKER_PREEMPT_OFF, "the stronger context is the greater one");

struct verdict switch_state_verdict(const struct switch_state *st, const struct policy_pair *old,
				    const struct policy_pair *new)
{
	struct verdict v = { false, "an empty state" };

	for (u8 walks = WALKS_OLD; walks <= WALKS_NEW; walks <<= 1) {
		for (u8 frees = FREES_OLD; frees <= FREES_NEW; frees <<= 1) {
			if (!(st->walks & walks) || !(st->frees & frees))
				continue;
			v = walk_verdict(walks, first_pair(frees, old, new), old, new);
			if (!v.safe)
				return v;
		}
	}
	return v;
}

static int check_states(const struct policy_pair *old, const struct policy_pair *new)
{
	bool leaving_unsafe = !pair_verdict(old->policy, old->backend).safe;

	for (int i = 0; i < NR_SWITCH_STATES; i++) {
		struct verdict v = switch_state_verdict(&switch_states[i], old, new);

		log_debug("switch %s+%s to %s+%s: %s: %s: %s", old->policy->name, old->backend->name, new->policy->name,
			  new->backend->name, switch_states[i].name, v.safe ? "safe" : "unsafe", v.reason);
		if (!v.safe && !leaving_unsafe && !allow_unsafe())
			return -EPERM;
	}
	return 0;
}

static int check_target(const struct policy_pair *new)
{
	struct verdict v = pair_verdict(new->policy, new->backend);

	if (flush_missing(new->backend))
		return -ENODEV;
	if (v.safe || allow_unsafe())
		return 0;
	log_info("a switch to table_free=%s with tlb_flush=%s is refused: unsafe, since %s", new->policy->name,
		 new->backend->name, v.reason);
	return -EPERM;
}

// ---- The protocol ---------------------------------------------------------------------------------------------------

// One switch at a time: union_of[] and switch_link belong to the holder.
static struct mutex switching = MUTEX_INIT(switching, "switch");

struct change {
	struct policy_pair to;
	struct list spaces;		// by switch_link, a count held of each
	const struct space *only;	// for the stall points; NULL: all
	bool walkers;			// some space's policy changes, not only its back-end
};

// Record state `n` of switch_states[] in the trace; its stall point bears its name.
#define REACHED(c, name, n) do { \
	trace(EV_SWITCH_STATE, (n)); \
	STALL(switch_##name, (c)->only, 0, 0); \
} while (0)

#define for_each_changed(s, c) \
	list_for_each(_it, &(c)->spaces) \
		for (struct space *s = list_entry(_it, struct space, switch_link), *_once = s; _once; _once = NULL)

// On return every walker that read a selector before the call has ended its walk.
static void wait_for_walkers(const struct change *c)
{
	if (c->walkers)
		synchronize_rcu();
}

// (1), (2)
static void walkers_to_union(struct change *c)
{
	for_each_changed(s, c) {
		WRITE_ONCE(s->union_of[0], s->policy);
		WRITE_ONCE(s->union_of[1], c->to.policy);
		if (s->policy == c->to.policy)
			continue;	// only the back-end changes: no walker is concerned
		c->walkers = true;
		if (MUTANT(switch_no_union))	// walkers go from old to new at once
			space_select(s, c->to.policy);
		else
			space_select(s, &policy_union);
	}
	REACHED(c, joining, 0);		// the selector says union; old walkers may be left
	if (!MUTANT(switch_no_wait))	// no grace period between the change of the walkers and that of the freeing side
		wait_for_walkers(c);
	REACHED(c, union, 1);		// every walker follows the union; tables are freed under the old pair
}

// (3)
static void freers_to_new(struct change *c)
{
	for_each_changed(s, c) {
		mutex_lock(&s->lock);
		WRITE_ONCE(s->freer, c->to.policy);
		WRITE_ONCE(s->backend, c->to.backend);
		if (s->union_of[0] != c->to.policy && s->union_of[0]->leave)
			s->union_of[0]->leave(s);
		mutex_unlock(&s->lock);
	}
	REACHED(c, moved, 2);		// tables are freed under the new pair; frees under the old one may be under way
}

// Was p the policy of some space, and is it no longer? A space that keeps its policy need not be waited for.
static bool was_policy_of_some(const struct change *c, const struct table_policy *p)
{
	for_each_changed(s, c)
		if (s->union_of[0] == p && p != c->to.policy)
			return true;
	return false;
}

// (4)
static void drain_old(struct change *c)
{
	if (MUTANT(switch_no_drain))	// walkers leave the old discipline while tables are freed under it
		return;
	flush_drain();
	FOR_EACH_POLICY(p)
		if ((*p)->drain && was_policy_of_some(c, *p))
			(*p)->drain();
	REACHED(c, drained, 3);		// nothing is left of the old pair but its walkers' discipline
}

// (5), (6)
static void walkers_to_new(struct change *c)
{
	for_each_changed(s, c)
		space_select(s, c->to.policy);
	REACHED(c, leaving, 4);		// the selector says new
	if (!MUTANT(switch_no_last_wait))	// the record may be overwritten under a walker that reads it
		wait_for_walkers(c);
}

static int check_all(const struct change *c)
{
	int err = 0;

	for_each_changed(s, c)
		if (!err)
			err = check_states(&(struct policy_pair){ s->policy, s->backend }, &c->to);
	return err;
}

static int change_pair(struct change *c)
{
	int err = check_all(c);

	if (err)
		return err;
	trace(EV_SWITCH_BEGIN, 0);
	walkers_to_union(c);
	freers_to_new(c);
	drain_old(c);
	walkers_to_new(c);
	trace(EV_SWITCH_END, 0);
	return 0;
}

static void let_go(struct change *c)
{
	struct list *it;

	while ((it = list_pop_front(&c->spaces)))
		space_put(list_entry(it, struct space, switch_link));
}

int space_switch_pair(struct space *s, const struct table_policy *p, const struct flush_backend *b)
{
	struct change c = { .to = { p, b }, .only = s };
	int err = check_target(&c.to);

	ASSERT_MAY_SLEEP();
	if (err)
		return err;
	list_init(&c.spaces);
	mutex_lock(&switching);
	space_get(s);
	list_push_back(&c.spaces, &s->switch_link);
	err = change_pair(&c);
	let_go(&c);
	mutex_unlock(&switching);
	return err;
}

int policy_switch_all(const struct table_policy *p, const struct flush_backend *b)
{
	struct change c = { .to = { p, b } };
	struct policy_pair before;
	int err = check_target(&c.to);

	ASSERT_MAY_SLEEP();
	if (err)
		return err;
	list_init(&c.spaces);
	mutex_lock(&switching);
	before = (struct policy_pair){ policy_default(), flush_default() };
	space_take_all(&c.spaces, p, b);
	err = change_pair(&c);
	if (err)		// a space that was created meanwhile keeps the pair: it is safe by itself
		space_set_default(before.policy, before.backend);
	let_go(&c);
	mutex_unlock(&switching);
	return err;
}

int policy_switch_random(u64 *seed)
{
	unsigned n = 0, pick;

	FOR_EACH_POLICY(p)
		FOR_EACH_BACKEND(b)
			n += !flush_missing(*b) && pair_verdict(*p, *b).safe;
	pick = (unsigned)(rand_next(seed) % n);
	FOR_EACH_POLICY(p)
		FOR_EACH_BACKEND(b)
			if (!flush_missing(*b) && pair_verdict(*p, *b).safe && !pick--)
				return policy_switch_all(*p, *b);
	return -ENODEV;
}
