// SPDX-License-Identifier: MIT
// The oracle: see oracle.h for the protocol. One slot per CPU and nesting level (task, interrupt, NMI).
#include "lab/oracle.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/panic.h"
#include "lab/counter.h"
#include "lab/mutant.h"
#include "lab/swmmu.h"
#include "mm/space.h"
#include "mm/tlb.h"
#include <arch/machine.h>
#include <arch/time.h>

#define MAX_RECORDS 16

static struct violation records[MAX_RECORDS];
static u64 violations;		// since the last reset
static u64 by_adversary;	// … of them
static u64 unexpected;		// … that no test has asked for
static u32 expecting;		// nesting of oracle_expect_violations

u64 oracle_violations(void) { return READ_ONCE(violations); }
u64 swmmu_violations(void) { return READ_ONCE(by_adversary); }

void oracle_reset(void)
{
	WRITE_ONCE(violations, 0);
	WRITE_ONCE(by_adversary, 0);
	WRITE_ONCE(unexpected, 0);
	memset(records, 0, sizeof(records));
}

unsigned oracle_records(struct violation *out, unsigned max)
{
	unsigned n = (unsigned)MIN(oracle_violations(), (u64)MIN(max, (unsigned)MAX_RECORDS));

	memcpy(out, records, n * sizeof(*out));
	return n;
}

void oracle_expect_violations(bool on)
{
	if (on)
		fetch_add(&expecting, 1);
	else
		fetch_sub(&expecting, 1);
}

static const char *const what[] = {
	[VIOLATION_WALK] = "a freed table is being walked",
	[VIOLATION_STALE_TABLE] = "a CPU may walk a freed table",
	[VIOLATION_STALE_LEAF] = "a CPU may use a page that has been freed",
	[VIOLATION_NO_TARGET] = "no flush goes to a CPU that walks",
	[VIOLATION_UNFLUSHED] = "a table's grace period has ended before its flush",
	[VIOLATION_UNPROVED] = "a CPU is reported to have taken a flush's call, and has taken none",
};

static bool seen_by_adversary(const struct violation *v)
{
	return v->kind == VIOLATION_STALE_TABLE || v->kind == VIOLATION_STALE_LEAF;
}

static bool seen_in_a_walk(const struct violation *v)
{
	return v->kind == VIOLATION_WALK || v->kind == VIOLATION_NO_TARGET;
}

void oracle_print(const struct violation *v)
{
	log_warn("oracle: %s: table_free=%s tlb_flush=%s level %d page %llx, seen by the %s on CPU %u, reader on CPU %u at %llx, "
		 "%s %llu",
		 what[v->kind], v->policy, v->flush, v->level, (unsigned long long)v->table, v->seen_by, v->cpu, v->walker_cpu,
		 (unsigned long long)v->va, arch_cycles_are_instructions() ? "instruction" : "cycle", (unsigned long long)v->at);
	print_backtrace(v->backtrace, v->depth);
	if (!seen_in_a_walk(v))
		return;
	log_warn("oracle: the walk was called from");
	print_backtrace(&v->walker_pc, 1);
}

void oracle_report(const struct violation *v)
{
	u64 at = cycles(), n = fetch_add(&violations, 1);
	bool expected = READ_ONCE(expecting);
	struct violation own = *v, *r = n < MAX_RECORDS ? &records[n] : &own;

	if (seen_by_adversary(v))
		fetch_add(&by_adversary, 1);
	*r = *v;
	r->cpu = cpu_id();
	r->at = at;
	r->depth = arch_backtrace(r->backtrace, ARRAY_SIZE(r->backtrace));
	if (expected)
		return;
	warn_at(__FILE__, __LINE__, what[v->kind]);	// counted each time: the test that runs fails
	if (fetch_add(&unexpected, 1) < MAX_RECORDS)
		oracle_print(r);
}

#if CHECK

struct oracle_slot {
	u32 active;			// written last, on entry and on exit
	const struct table_policy *policy;	// copies: the space may be gone when the freeing side reports
	const char *flush;
	vaddr_t va;
	uintptr_t caller;
	struct page *path[PT_LEVELS];	// by level - 1; NULL: not reached yet. The root is published at the start
	u32 birth[PT_LEVELS];
};
#define NR_SLOTS 3
struct oracle_cpu {
	struct oracle_slot slot[NR_SLOTS];
} __cacheline;
static DEFINE_PER_CPU(struct oracle_cpu, oracle);

static struct oracle_slot *own_slot(void) { return &this_cpu_ptr(&oracle)->slot[in_nmi() ? 2 : in_irq() ? 1 : 0]; }

static void report_as(enum violation_kind kind, const char *by, const struct table_policy *p, struct oracle_slot *slot,
		      unsigned walker_cpu, struct page *table)
{
	oracle_report(&(const struct violation){ .kind = kind, .policy = p->name, .flush = slot->flush, .seen_by = by,
		.table = page_to_phys(table), .level = table->table_level, .walker_cpu = walker_cpu, .va = slot->va,
		.walker_pc = slot->caller });
}

static void report(const char *by, const struct table_policy *p, struct oracle_slot *slot, unsigned walker_cpu,
		   struct page *table)
{
	report_as(VIOLATION_WALK, by, p, slot, walker_cpu, table);
}

void oracle_enter(struct space *s, vaddr_t va, uintptr_t caller)
{
	struct oracle_slot *slot = own_slot();

	slot->policy = READ_ONCE(s->policy);	// a switch may be under way
	slot->flush = READ_ONCE(s->backend)->name;
	slot->va = va;
	slot->caller = caller;
	WRITE_ONCE(slot->active, 1);
}

// Would tlb_flush() target this CPU? Only this CPU sets and clears its bits in the two masks.
void oracle_check_target(const struct table_policy *p, const struct space *s)
{
	if (MUTANT(oracle_no_target_unseen))
		return;
	if (p->walkers_are_targets && !cpumask_test(&s->cpus, cpu_id()) && !cpumask_test(&s->walkers, cpu_id()))
		report_as(VIOLATION_NO_TARGET, "walker", p, own_slot(), cpu_id(), page_of(s->root_pa));
}

void oracle_publish(int level, struct page *table)
{
	struct oracle_slot *slot = own_slot();
	u8 state;

	if (MUTANT(oracle_no_root) && level == PT_LEVELS)	// nobody is seen in the root
		return;
	WRITE_ONCE(slot->path[level - 1], table);
	smp_mb();	// published before the state is read: pairs with inspect() in mm/table.c
	slot->birth[level - 1] = READ_ONCE(table->birth);
	state = READ_ONCE(table->table_state);
	if (MUTANT(oracle_walker_blind))	// left to the freeing side to find
		return;
	if (MUTANT(oracle_kept_unseen) && state == TABLE_QUIESCED)	// a walker may reach a table that is kept
		return;
	if (state == TABLE_QUIESCED || state == TABLE_FREE || READ_ONCE(table->kind) != PAGE_TABLE)
		report("walker", slot->policy, slot, cpu_id(), table);
}

// Still the table that it was? Then withdraw it.
static void withdraw(struct oracle_slot *slot, int level)
{
	struct page *table = slot->path[level - 1];

	if (!table)
		return;
	if (MUTANT(oracle_no_birth))	// a walker does not see that its table has become another one
		slot->birth[level - 1] = READ_ONCE(table->birth);
	if (READ_ONCE(table->birth) != slot->birth[level - 1])
		report("walker", slot->policy, slot, cpu_id(), table);
	store_release(&slot->path[level - 1], NULL);	// the walk's reads stay before it
}

void oracle_leave(int level) { withdraw(own_slot(), level); }

void oracle_exit(void)
{
	struct oracle_slot *slot = own_slot();

	for (int level = PT_LEVELS; level >= 1; level--)
		withdraw(slot, level);
	WRITE_ONCE(slot->active, 0);
}

// Is a walker inside the table? *walking: is there a walker at all?
static bool scan(struct page *table, const struct table_policy *policy, bool *walking)
{
	bool hit = false;

	*walking = false;
	for_each_cpu(cpu) {
		for (int i = 0; i < NR_SLOTS; i++) {
			struct oracle_slot *slot = &per_cpu(oracle, cpu).slot[i];

			if (MUTANT(oracle_one_context) && i)	// walkers in interrupts and NMIs are not seen
				break;
			if (!READ_ONCE(slot->active))
				continue;
			*walking = true;
			if (MUTANT(oracle_freer_blind))	// left to the walker to find
				continue;
			if (READ_ONCE(slot->path[table->table_level - 1]) == table) {
				report("freer", policy, slot, cpu, table);
				hit = true;
			}
		}
	}
	return hit;
}

bool oracle_table_freed(struct page *table, const struct table_policy *policy)
{
	bool walking, hit = scan(table, policy, &walking);

	if (walking)
		count(frees_during_walk);
	return hit;
}

bool oracle_table_reused(struct page *table, const struct table_policy *policy)
{
	bool walking;

	return scan(table, policy, &walking);
}

bool oracle_walking(void)
{
	for_each_cpu(cpu)
		for (int i = 0; i < NR_SLOTS; i++)
			if (READ_ONCE(per_cpu(oracle, cpu).slot[i].active))
				return true;
	return false;
}
#endif
