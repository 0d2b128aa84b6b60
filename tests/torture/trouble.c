// SPDX-License-Identifier: MIT
// What disturbs the workers: threads that move and CPUs that idle, RCU load, allocations that fail, CPUs that are
// preempted, pairs that change, and steps of the protocols that take longer than usual.
#include "kernel/lib.h"
#include "kernel/rcu/rcu.h"
#include "kernel/time.h"
#include "lab/inject.h"
#include "lab/stall.h"
#include "lab/thief.h"
#include "mm/frame/slab.h"
#include "mm/policy/switch.h"
#include "mm/walk.h"
#include "tests/torture/torture.h"

// ---- Threads and CPUs -----------------------------------------------------------------------------------------------

void wander_off(struct worker *w)
{
	struct cpumask there = { 0 };

	if (!RANDOM(w, 4)) {
		thread_sleep_ns(RANDOM(w, 8) * NSEC_PER_MSEC);
		return;
	}
	cpumask_set(&there, RANDOM(w, 2) ? w->home : RANDOM(w, nr_cpus));
	thread_set_affinity(&there);
}

// ---- Allocations that fail ------------------------------------------------------------------------------------------

static u32 injecting;		// lab/inject.h serves one thread at a time

bool inject_begin(struct worker *w)
{
	unsigned nth = 1 + RANDOM(w, 4);
	bool follow = RANDOM(w, 2);

	if (RANDOM(w, 16) || READ_ONCE(injecting) || !cmpxchg(&injecting, 0u, 1u))
		return false;
	if (follow)
		inject_alloc_failures_from(nth);
	else
		inject_alloc_failure(nth);
	return true;
}

void inject_end(struct worker *w)
{
	inject_alloc_failure(0);
	w->injected += inject_fired();
	store_release(&injecting, 0u);		// pairs with the next one's cmpxchg
}

// ---- RCU ------------------------------------------------------------------------------------------------------------

#define TOYS 8
#define TOY_ALIVE 0xa11feull

struct toy {
	struct rcu_head head;
	u64 alive;
	u64 cookie;		// 0: an expedited grace period was waited for, which cookies do not count
};
static struct toy *toys[TOYS];

static void toy_free(struct toy *t)
{
	if (t->cookie && !rcu_elapsed(t->cookie))
		torture_fault(FAULT_early_free, NULL, 0, t->cookie);
	WRITE_ONCE(t->alive, 0);
	kfree(t);
}

static void toy_callback(struct rcu_head *head) { toy_free(container_of(head, struct toy, head)); }

static void replace_toy(struct worker *w, struct toy *t)
{
	struct toy *old;

	if (t)
		t->alive = TOY_ALIVE;
	old = xchg(&toys[RANDOM(w, TOYS)], t);
	if (!old)
		return;
	old->cookie = rcu_snapshot();
	switch (RANDOM(w, 8)) {
	case 0:
		synchronize_rcu();
		toy_free(old);
		break;
	case 1:
		old->cookie = 0;
		synchronize_rcu_expedited();
		toy_free(old);
		break;
	default:
		call_rcu(&old->head, toy_callback);
	}
}

void rcu_load(struct worker *w)
{
	if (RANDOM(w, 8))
		replace_toy(w, kmalloc(sizeof(struct toy)));
	else
		rcu_barrier();
}

// A reader: what it has found alive stays alive.
void rcu_look(struct worker *w)
{
	unsigned which = RANDOM(w, TOYS), spins = RANDOM(w, 128) ? RANDOM(w, 8) : RANDOM(w, 2000);
	struct toy *t;

	rcu_read_lock();
	t = load_acquire(&toys[which]);
	for (unsigned i = 0; t && i < spins; i++)
		cpu_relax();
	if (t && READ_ONCE(t->alive) != TOY_ALIVE)
		torture_fault(FAULT_early_free, NULL, 0, READ_ONCE(t->alive));
	rcu_read_unlock();
}

void rcu_load_end(void)
{
	for (unsigned i = 0; i < TOYS; i++)
		kfree(xchg(&toys[i], NULL));
	rcu_barrier();
}

// ---- Troublemakers: threads of their own ----------------------------------------------------------------------------

static u32 delayed;		// 1 + the CPU that is being delayed at a stall point, or 0

// Has the thief preempt one CPU at a time: half of the time the CPU that is being delayed in a step, if there is one.
int rob_cpus(void *arg)
{
	struct worker *w = arg;

	while (!stopping()) {
		unsigned there = READ_ONCE(delayed), cpu = there && RANDOM(w, 2) ? there - 1 : RANDOM(w, nr_cpus);
		u64 ns = (100 + RANDOM(w, 4900)) * NSEC_PER_USEC;

		beat(&w->beat, "a preemption");
		thread_sleep_ns(RANDOM(w, 8) * NSEC_PER_MSEC);
		thief_rob(cpu, ns);
		if (cpu != cpu_id())
			thread_sleep_ns(ns);
		thief_wait_back(cpu);
		WRITE_ONCE(world.thefts, world.thefts + 1);
	}
	return 0;
}

static void switch_one(struct worker *w)
{
	struct ref r = world_take(RANDOM(w, world.nr_slots));
	const struct table_policy *p = NULL;
	const struct flush_backend *b = NULL;

	if (r.space && random_safe_pair(&w->seed, &p, &b)) {
		bool trap = trap_begin(w, &r, (vaddr_t)(ENTRY_SHARED + RANDOM(w, SHARED_GROUPS)) << level_shift(4), BLOCK, false);

		check_error(&r, 0, space_switch_pair(r.space, p, b), 0);
		if (trap)
			trap_end(w);
	}
	world_drop(&r);
}

int switch_pairs(void *arg)
{
	struct worker *w = arg;

	while (!stopping()) {
		beat(&w->beat, "a switch of policy and back-end");
		if (RANDOM(w, 2))
			switch_one(w);
		else
			check_error(NULL, 0, policy_switch_random(&w->seed), 0);
		WRITE_ONCE(world.changes, world.changes + 1);
		thread_sleep_ns(RANDOM(w, 100) * NSEC_PER_MSEC);
	}
	return 0;
}

#if CHECK
static u32 stalling;		// taken by a thread that arms stall points: one at a time
static u32 sprung;		// the walker in the trap may go on

static bool take_stalls(void) { return !READ_ONCE(stalling) && cmpxchg(&stalling, 0u, 1u); }
static void give_stalls(void) { store_release(&stalling, 0u); }	// pairs with the next one's cmpxchg

// A CPU that comes to the point stays in that step for a while, in the state that it is in.
static void dawdle(struct stall_point *p, void *arg)
{
	u64 end = now_ns() + (u64)(uintptr_t)arg;

	WRITE_ONCE(delayed, cpu_id() + 1);
	while (now_ns() < end && !READ_ONCE(sprung))
		cpu_relax();
	WRITE_ONCE(delayed, 0u);
}

static void arm(struct stall_point *p, u64 ns, const struct space *s, vaddr_t va, u64 len, int level)
{
	WRITE_ONCE(sprung, 0u);
	p->action = dawdle;
	p->arg = (void *)(uintptr_t)ns;
	stall_arm(p, s, va, va + len, level);
}

static struct stall_point *random_point(struct worker *w)
{
	struct stall_point *pick = NULL;
	bool walks = !RANDOM(w, 4);		// traps delay walks, too
	unsigned n = 0;

	FOR_EACH_STALL_POINT(p)
		if ((!walks || !strncmp((*p)->name, "walk_", 5)) && !RANDOM(w, ++n))
			pick = *p;
	return pick;
}

int delay_steps(void *arg)
{
	struct worker *w = arg;

	while (!stopping()) {
		struct stall_point *p = random_point(w);
		u64 ns = RANDOM(w, 8) ? RANDOM(w, 1000) * NSEC_PER_USEC : RANDOM(w, 16) * NSEC_PER_MSEC;
		bool taken = take_stalls();

		beat(&w->beat, p->name);
		if (taken)
			arm(p, ns, NULL, 0, 0, 0);
		thread_sleep_ns(RANDOM(w, 4) * NSEC_PER_MSEC);
		if (!taken)
			continue;
		stall_release(p);
		WRITE_ONCE(world.delays, world.delays + p->hits);
		give_stalls();
		thread_sleep_ns(RANDOM(w, 30) * NSEC_PER_MSEC);
	}
	return 0;
}

// The next walker that is about to read a table in that range stays there until trap_end(), or for a limited time. The
// caller waits for one to come. The other workers learn of the place, so that they walk there, and go on there unless
// the caller wants to be alone with the walker.
bool trap_begin(struct worker *w, const struct ref *r, vaddr_t va, u64 len, bool alone)
{
	int level = RANDOM(w, 2) ? 2 : 2 + (int)RANDOM(w, 3);	// of the entry that names the table
	struct page *page;
	u64 end;

	if (!RANDOM(w, 8) || walk_pin(r->space, va, false, &page))	// nothing there
		return false;
	page_unpin(page, false);
	if (!take_stalls())
		return false;
	end = now_ns() + (1 + RANDOM(w, 20)) * NSEC_PER_MSEC;
	arm(stall_point("walk_level"), (5 + RANDOM(w, 45)) * NSEC_PER_MSEC, r->space, va, len, level);
	WRITE_ONCE(world.bait_va, va);
	WRITE_ONCE(world.bait_slot, r->slot + 1);
	while (now_ns() < end && !READ_ONCE(delayed) && !stopping())
		thread_yield();
	if (alone)
		WRITE_ONCE(world.bait_slot, 0u);
	return true;
}

void trap_end(struct worker *w)
{
	u64 end = now_ns() + RANDOM(w, 2000) * NSEC_PER_USEC;

	while (now_ns() < end && READ_ONCE(delayed) && !stopping())
		thread_yield();
	WRITE_ONCE(world.bait_slot, 0u);
	WRITE_ONCE(sprung, 1u);
	stall_release(stall_point("walk_level"));
	fetch_add(&world.trapped, (u64)stall_point("walk_level")->hits);
	give_stalls();
}
#else
int delay_steps(void *arg) { return 0; }
bool trap_begin(struct worker *w, const struct ref *r, vaddr_t va, u64 len, bool alone) { return false; }
void trap_end(struct worker *w) { }
#endif
