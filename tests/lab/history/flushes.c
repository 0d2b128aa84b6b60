// SPDX-License-Identifier: MIT
// Flushes that were left out or came in the wrong order, in the history of this kernel and of others. Each scene is
// played twice, intact and with a step taken out, while the adversary (lab/swmmu.h) has cached all that it may.
#include "kernel/errno.h"
#include "kernel/time.h"
#include "lab/inject.h"
#include "lab/mutant.h"
#include "lab/oracle.h"
#include "lab/swmmu.h"
#include "lab/test.h"
#include "mm/inval.h"
#include "mm/tlb.h"
#include "tests/lab/history/mutated.h"
#include "tests/mm/help.h"
#include "tests/mm/walk/hold.h"

#if CHECK

void intact_and_mutated(const char *mutant, u64 (*play)(void))
{
	struct mm_balance b;

	swmmu_quiet(true);	// nothing is cached but what the scene primes
	mm_balance_begin(&b);
	EXPECT_EQ(play(), 0);
	mm_balance_end(&b);
	oracle_expect_violations(true);
	mutant_turn_or_fail(mutant, true);
	EXPECT(play() > 0);
	mutant_turn_or_fail(mutant, false);
	oracle_expect_violations(false);
	swmmu_quiet(false);
}

static struct space *one_page(const char *policy, const char *flush)
{
	return mm_populated(policy_find(policy), flush_find(flush), PAGE_SIZE);
}

// ---- Tables are freed, and no leaf was there (Linux, 2018: the path on which no batch could be allocated) ----------

static void prime_and_fail_batches(struct stall_point *p, void *arg)
{
	swmmu_prime(mm_other_cpu(0), BASE);		// down to the empty table
	EXPECT(swmmu_has_table(mm_other_cpu(0), BASE, 1));
	inject_alloc_failures_from(1);
}

static u64 discard_with_empty_tables_cached(void)
{
	struct mm_resident r = { .s = one_page("rcu", "ipi") };
	u64 violations = swmmu_violations();
	struct thread *t;

	if (!r.s || !(t = mm_thread("resident", mm_reside, &r, mm_other_cpu(0))))
		return 0;
	spin_until(load_acquire(&r.there), "resident", -1);
	stall_point("discard_between")->action = prime_and_fail_batches;
	stall_arm(stall_point("discard_between"), r.s, 0, 0, 0);
	EXPECT_EQ(space_discard(r.s, BASE, PAGE_SIZE), 0);
	EXPECT(inject_fired());
	inject_alloc_failure(0);
	EXPECT_EQ(stall_point("discard_between")->hits, 1);
	stall_release(stall_point("discard_between"));
	store_release(&r.go, 1u);
	mm_join(t);
	space_put(r.s);
	return swmmu_violations() - violations;
}

TEST(history, no_leaf_present_and_no_batch, NEEDS_CPUS2)
{
	intact_and_mutated("no_flush_without_leaf", discard_with_empty_tables_cached);
}

// ---- Lazy CPUs left out although tables are freed (Linux, 2018) ----------------------------------------------------

static u64 unmap_while_held_lazily(void)
{
	struct mm_resident r = { .s = one_page("ipi", "ipi"), .go = 1 };
	u64 violations = swmmu_violations();

	if (!r.s)
		return 0;
	mm_join(mm_thread("resident", mm_reside, &r, mm_other_cpu(0)));
	EXPECT(cpumask_test(&r.s->cpus, mm_other_cpu(0)));	// its CPU idles and has left the root loaded
	EXPECT(swmmu_prime(mm_other_cpu(0), BASE));
	EXPECT_EQ(space_unmap(r.s, BASE, PAGE_SIZE), 0);
	space_put(r.s);
	return swmmu_violations() - violations;
}

TEST(history, lazy_cpus_walk_too, NEEDS_CPUS2) { intact_and_mutated("flush_skips_lazy", unmap_while_held_lazily); }

// RISC-V, until 2024: upper tables went past the gather, so they were freed before the flush that drops their entries.
TEST(history, upper_tables_wait_for_the_flush, NEEDS_CPUS2)
{
	intact_and_mutated("gather_upper_at_once", unmap_while_held_lazily);
}

// The same for a table that is not freed but kept, to be reused: the collapse itself must be caught.
static u64 collapse_while_held_lazily(void)
{
	struct mm_resident r = { .s = space_create_with(policy_find("rcu"), flush_find("ipi")), .go = 1 };
	u64 violations = swmmu_violations();

	if (!EXPECT(r.s) || !EXPECT_EQ(space_map(r.s, BASE, level_size(2), RW, 1, MAP_POPULATE), 0))
		return 0;
	mm_join(mm_thread("resident", mm_reside, &r, mm_other_cpu(0)));
	EXPECT(cpumask_test(&r.s->cpus, mm_other_cpu(0)));
	EXPECT(swmmu_prime(mm_other_cpu(0), BASE));
	EXPECT_EQ(space_collapse(r.s, BASE), 0);
	violations = swmmu_violations() - violations;
	space_put(r.s);
	return violations;
}

TEST(history, lazy_cpus_walk_too_when_a_table_is_kept, NEEDS_CPUS2)
{
	intact_and_mutated("flush_skips_lazy", collapse_while_held_lazily);
}

// The entry that named the table must be flushed, though nothing is freed: a lazy CPU may have cached it.
TEST(history, collapse_flushes_the_entry_on_lazy_cpus, NEEDS_CPUS2)
{
	intact_and_mutated("collapse_keeps_upper", collapse_while_held_lazily);
}

// ---- What another CPU has cached of pages that now have another place ----------------------------------------------

#define PRIMED 4
static vaddr_t primed_va(unsigned i) { return BASE + (3 + i * 97) * PAGE_SIZE; }

// 512 small pages, of which a CPU that runs in the space has cached some while `operation` changes them.
static u64 change_under_a_resident(const char *policy, int (*operation)(struct space *))
{
	struct mm_resident r = { .s = space_create_with(policy_find(policy), flush_find("ipi")) };
	u64 violations = swmmu_violations();
	struct thread *t;

	if (!EXPECT(r.s) || !EXPECT_EQ(space_map(r.s, BASE, level_size(2), RW, 1, MAP_POPULATE), 0) ||
	    !(t = mm_thread("resident", mm_reside, &r, mm_other_cpu(0))))
		return 0;
	spin_until(load_acquire(&r.there), "resident", -1);
	for (unsigned i = 0; i < PRIMED; i++)
		EXPECT(swmmu_prime(mm_other_cpu(0), primed_va(i)));
	EXPECT_EQ(operation(r.s), 0);
	violations = swmmu_violations() - violations;
	store_release(&r.go, 1u);
	mm_join(t);
	space_put(r.s);
	return violations;
}

static int collapse_it(struct space *s) { return space_collapse(s, BASE); }
static u64 collapse_under_a_resident(void) { return change_under_a_resident("ipi", collapse_it); }

// FreeBSD: one INVLPG after a promotion, which leaves 511 small translations of pages that are then freed.
TEST(history, collapse_leaves_no_small_leaf, NEEDS_CPUS2)
{
	intact_and_mutated("collapse_one_invlpg", collapse_under_a_resident);
}

// A CPU that has answered, if it may answer before it flushes, is held there until the collapse has returned.
static void stay_behind(struct stall_point *p, void *collapsed)
{
	spin_until(load_acquire((u32 *)collapsed), "the collapse", -1);
}

static int collapse_while_it_flushes(struct space *s)
{
	u32 collapsed = 0;
	int err;

	stall_point("flush_answered")->action = stay_behind;
	stall_point("flush_answered")->arg = &collapsed;
	stall_arm(stall_point("flush_answered"), s, 0, 0, 0);
	err = space_collapse(s, BASE);
	store_release(&collapsed, 1u);
	stall_release(stall_point("flush_answered"));
	return err;
}

// (The policy waits neither for a grace period, which this CPU would hold up, nor for a call, which it would answer only
// after its flush.)
static u64 collapse_before_it_flushes(void) { return change_under_a_resident("targeted", collapse_while_it_flushes); }

// The same on a CPU that runs in the space: it must have dropped the entry when the table changes its meaning.
TEST(history, collapse_waits_until_the_entry_is_flushed, NEEDS_CPUS2)
{
	intact_and_mutated("collapse_keeps_upper", collapse_before_it_flushes);
}

// The mover has dropped the lock. A page at the new place is unmapped, by a flush that does not cover the old one.
static void unmap_the_new_place(struct stall_point *p, void *space)
{
	EXPECT_EQ(space_unmap(space, FAR + primed_va(0) - BASE, PAGE_SIZE), 0);
}

static int move_it(struct space *s)
{
	int err;

	stall_point("move_unlocked")->action = unmap_the_new_place;
	stall_point("move_unlocked")->arg = s;
	stall_arm(stall_point("move_unlocked"), s, 0, 0, 0);
	err = space_move(s, BASE, FAR, level_size(2));
	EXPECT_EQ(stall_point("move_unlocked")->hits, 1);
	stall_release(stall_point("move_unlocked"));
	return err;
}

static u64 move_under_a_resident(void) { return change_under_a_resident("ipi", move_it); }

// CVE-2018-18281.
TEST(history, move_leaves_no_old_leaf, NEEDS_CPUS2)
{
	intact_and_mutated("move_flush_after_unlock", move_under_a_resident);
}

// ---- The bit in the CPU mask set last ------------------------------------------------------------------------------

struct joining {
	struct mm_resident r;
	u32 primed, returned;
};

// With interrupts off, the CPU has loaded the root and cached what it could. It is held until the unmapper waits for
// it, or has returned without a wait.
static void prime_while_joining(struct stall_point *p, void *arg)
{
	struct joining *j = arg;
	u64 awaited = walk_awaited();

	EXPECT(swmmu_prime(cpu_id(), BASE));
	store_release(&j->primed, 1u);
	spin_until(walk_awaited() != awaited || load_acquire(&j->returned), "the unmapper", -1);
}

static u64 unmap_while_joining(void)
{
	struct joining j = { .r = { .s = one_page("ipi", "ipi"), .go = 1 } };
	u64 violations = swmmu_violations();
	struct thread *t;

	if (!j.r.s)
		return 0;
	stall_point("tlb_loaded")->action = prime_while_joining;
	stall_point("tlb_loaded")->arg = &j;
	stall_arm(stall_point("tlb_loaded"), j.r.s, 0, 0, 0);
	t = mm_thread("resident", mm_reside, &j.r, mm_other_cpu(0));
	if (!t)
		return 0;
	spin_until(load_acquire(&j.primed), "resident", -1);
	EXPECT_EQ(space_unmap(j.r.s, BASE, PAGE_SIZE), 0);
	store_release(&j.returned, 1u);
	mm_join(t);
	stall_release(stall_point("tlb_loaded"));
	space_put(j.r.s);
	return swmmu_violations() - violations;
}

TEST(history, mask_bit_set_last, NEEDS_CPUS2) { intact_and_mutated("tlb_bit_last", unmap_while_joining); }

// ---- Only the leaves flushed, although tables are freed (arm64, 2018) ----------------------------------------------

// Returns the violations of an unmap of everything, while this CPU has all of it cached.
static u64 unmap_primed(void)
{
	u64 before = swmmu_violations(), found;
	struct space *s;

	swmmu_quiet(true);
	s = mm_populated(policy_find("ipi"), flush_find("ipi"), 2 * PAGE_SIZE);
	if (!s) {
		swmmu_quiet(false);
		return 0;
	}
	space_attach(s);
	EXPECT(swmmu_prime(cpu_id(), BASE));
	EXPECT_EQ(space_unmap(s, BASE, 2 * PAGE_SIZE), 0);
	found = swmmu_violations() - before;
	space_detach();
	space_put(s);
	swmmu_quiet(false);
	return found;
}

// x86 gets away with it, because INVLPG drops all upper entries, too.
TEST(history, leaf_only_flush_before_a_tables_end, NEEDS_CHECK)
{
	EXPECT_EQ(unmap_primed(), 0);
	swmmu_set_mode(SWMMU_WEAKEST);
	EXPECT_EQ(unmap_primed(), 0);
	oracle_expect_violations(true);
	mutant_set(flush_leaf_only, 1);
	EXPECT(unmap_primed() > 0);
	swmmu_set_mode(SWMMU_X86);
	EXPECT_EQ(unmap_primed(), 0);
	mutant_set(flush_leaf_only, 0);
	oracle_expect_violations(false);
}

// ---- What the adversary relies on ----------------------------------------------------------------------------------

// Flushes of leaves skip a CPU in lazy TLB mode, so it must not touch user memory.
TEST(history, lazy_cpu_touches_no_user_memory, 0)
{
	struct space *s = one_page("rcu", "ipi");
	u64 v = 0;

	REQUIRE(s);
	preempt_disable();
	space_attach(s);
	EXPECT_EQ(arch_user_read64_nofault(BASE, &v), 0);
	current->space = NULL;			// as when the CPU switches to a kernel thread: the root stays
	tlb_follow(current);
	EXPECT(this_cpu_read(cpu_tlb.loaded) == s);
	EXPECT_EQ(arch_user_read64_nofault(BASE, &v), -EFAULT);
	EXPECT_EQ(arch_user_write64_nofault(BASE, 1), -EFAULT);
	current->space = s;
	tlb_follow(current);
	preempt_enable();
	space_detach();
	space_put(s);
}
#endif
