// SPDX-License-Identifier: MIT
// The oracle: see oracle.h for the protocol. One slot per CPU and nesting level (task, interrupt, NMI).
#include "mm/oracle.h"
#include "kernel/counter.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/panic.h"
#include "mm/space.h"
#include <arch/machine.h>

#define MAX_RECORDS 16

static struct violation records[MAX_RECORDS];
static u64 violations;		// since the last reset
static u32 expecting;		// nesting of oracle_expect_violations

u64 oracle_violations(void) { return READ_ONCE(violations); }

void oracle_reset(void)
{
	WRITE_ONCE(violations, 0);
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

void oracle_print(const struct violation *v)
{
	log_warn("oracle: a freed table is being walked: table_free=%s tlb_flush=%s level %d table %llx, seen by the %s on CPU %u, "
		 "walker on CPU %u at %llx", v->policy, v->flush, v->level, (unsigned long long)v->table, v->seen_by, v->cpu,
		 v->walker_cpu, (unsigned long long)v->va);
	print_backtrace(v->backtrace, v->depth);
	log_warn("oracle: the walk was called from");
	print_backtrace(&v->walker_pc, 1);
}

#if CHECK
struct oracle_slot {
	u32 active;			// written last on entry, first on exit
	const struct table_policy *policy;	// copies: the space may be gone when a freer reports
	const char *flush;
	vaddr_t va;
	uintptr_t caller;
	struct page *path[PT_LEVELS];	// by level - 1; NULL: not there yet. The root is held by the space's count
	u32 birth[PT_LEVELS];
};
#define NR_SLOTS 3
struct oracle_cpu {
	struct oracle_slot slot[NR_SLOTS];
} __cacheline;
static DEFINE_PER_CPU(struct oracle_cpu, oracle);

static struct oracle_slot *own_slot(void) { return &this_cpu_ptr(&oracle)->slot[in_nmi() ? 2 : in_irq() ? 1 : 0]; }

static void report(const char *by, const struct table_policy *p, struct oracle_slot *slot, unsigned walker_cpu,
		   struct page *table)
{
	u64 n = fetch_add(&violations, 1);

	if (!READ_ONCE(expecting) && n == 0)
		warn_at(__FILE__, __LINE__, "a freed table is being walked");
	if (n >= MAX_RECORDS)
		return;
	records[n] = (struct violation){ .policy = p->name, .flush = slot->flush, .seen_by = by,
		.table = page_to_phys(table), .level = table->table_level, .cpu = cpu_id(), .walker_cpu = walker_cpu,
		.va = slot->va, .walker_pc = slot->caller };
	records[n].depth = arch_backtrace(records[n].backtrace, ARRAY_SIZE(records[n].backtrace));
	if (!READ_ONCE(expecting))
		oracle_print(&records[n]);
}

void oracle_enter(struct space *s, vaddr_t va, uintptr_t caller)
{
	struct oracle_slot *slot = own_slot();

	slot->policy = s->policy;
	slot->flush = s->backend->name;
	slot->va = va;
	slot->caller = caller;
	WRITE_ONCE(slot->active, 1);
}

void oracle_publish(int level, struct page *table)
{
	struct oracle_slot *slot = own_slot();

	WRITE_ONCE(slot->path[level - 1], table);
	smp_mb();	// published before the state is read: pairs with table_free()
	slot->birth[level - 1] = READ_ONCE(table->birth);
	if (READ_ONCE(table->table_state) == TABLE_FREE || READ_ONCE(table->kind) != PAGE_TABLE)
		report("walker", slot->policy, slot, cpu_id(), table);
}

// Still the tables that they were? Then withdraw them.
void oracle_exit(void)
{
	struct oracle_slot *slot = own_slot();

	for (int i = PT_LEVELS - 1; i >= 0; i--) {
		struct page *table = slot->path[i];

		if (!table)
			continue;
		if (READ_ONCE(table->birth) != slot->birth[i])
			report("walker", slot->policy, slot, cpu_id(), table);
		store_release(&slot->path[i], NULL);	// the walk's reads stay before it
	}
	WRITE_ONCE(slot->active, 0);
}

bool oracle_table_freed(struct page *table, const struct table_policy *policy)
{
	bool hit = false, walking = false;

	for_each_cpu(cpu) {
		for (int i = 0; i < NR_SLOTS; i++) {
			struct oracle_slot *slot = &per_cpu(oracle, cpu).slot[i];

			if (!READ_ONCE(slot->active))
				continue;
			walking = true;
			if (READ_ONCE(slot->path[table->table_level - 1]) == table) {
				report("freer", policy, slot, cpu, table);
				hit = true;
			}
		}
	}
	if (walking)
		count(frees_during_walk);
	return hit;
}
#endif
