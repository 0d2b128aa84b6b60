// SPDX-License-Identifier: MIT
// What the oracle promises (lab/oracle.h). The tests call the walker's half and the freeing side's as a walk and a free
// would: at each level, the root included; with a table that is freed, kept, or has become another one. And they do a
// real walk in an interrupt and in an NMI. (Other walks: tests/mm/walk/tables.c.)
#include "lab/oracle.h"
#include "kernel/lib.h"
#include "kernel/time.h"
#include "lab/test.h"
#include "mm/table.h"
#include "tests/lab/history/context.h"
#include "tests/mm/help.h"

#if CHECK
static void begin_walk(struct space *s) { oracle_enter(s, BASE, (uintptr_t)__builtin_return_address(0)); }

static struct space *one_page(struct page *tables[PT_LEVELS])
{
	struct space *s = space_create_with(policy_find("ipi"), flush_find("ipi"));

	if (!EXPECT(s) || !EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0))
		return NULL;
	for (int level = 1; level < PT_LEVELS; level++)
		if (!EXPECT(tables[level - 1] = mm_table(s, BASE, level)))
			return NULL;
	tables[PT_LEVELS - 1] = page_of(s->root_pa);
	return s;
}

// Interrupts are off throughout, so that nobody else uses this CPU's slot.
static void down_and_up(struct space *s, struct page *tables[PT_LEVELS])
{
	irqflags_t flags = irq_save();

	begin_walk(s);
	for (int level = PT_LEVELS; level >= 1; level--) {
		EXPECT(!oracle_table_freed(tables[level - 1], s->policy));
		oracle_publish(level, tables[level - 1]);
		EXPECT(oracle_table_freed(tables[level - 1], s->policy));
	}
	oracle_leave(1);
	EXPECT(!oracle_table_freed(tables[0], s->policy));
	for (int level = 2; level <= PT_LEVELS; level++)
		EXPECT(oracle_table_freed(tables[level - 1], s->policy));
	oracle_exit();
	for (int level = 1; level <= PT_LEVELS; level++)
		EXPECT(!oracle_table_freed(tables[level - 1], s->policy));
	irq_restore(flags);
}

TEST(oracle, finds_a_walker_at_each_level_until_it_leaves, 0)
{
	struct page *tables[PT_LEVELS];
	struct space *s = one_page(tables);

	REQUIRE(s);
	oracle_expect_violations(true);
	down_and_up(s, tables);
	oracle_expect_violations(false);
	space_put(s);
}

// The table was freed and used again after it was published, and is LIVE again: only its birth number shows it.
static u64 reborn(struct space *s, struct page *table, bool while_inside)
{
	irqflags_t flags = irq_save();
	u64 before = oracle_violations();

	begin_walk(s);
	if (!while_inside)
		WRITE_ONCE(table->birth, table->birth + 1);
	oracle_publish(1, table);
	if (while_inside)
		WRITE_ONCE(table->birth, table->birth + 1);
	oracle_exit();
	irq_restore(flags);
	return oracle_violations() - before;
}

TEST(oracle, table_of_another_birth, 0)
{
	struct page *tables[PT_LEVELS];
	struct space *s = one_page(tables);

	REQUIRE(s);
	oracle_expect_violations(true);
	EXPECT_EQ(reborn(s, tables[0], false), 0);
	EXPECT_EQ(reborn(s, tables[0], true), 1);
	oracle_expect_violations(false);
	space_put(s);
}

static void flush(struct page *table)
{
	table_set_state(table, TABLE_LIVE, TABLE_UNLINKED);
	table_set_state(table, TABLE_UNLINKED, TABLE_FLUSHED);
}

static void quiesce(struct page *table)
{
	flush(table);
	table_set_state(table, TABLE_FLUSHED, TABLE_QUIESCED);
}

// A walker comes upon the table. Returns the violations that its half reports.
static u64 come_upon(struct space *s, struct page *table)
{
	irqflags_t flags = irq_save();
	u64 before = oracle_violations();

	begin_walk(s);
	oracle_publish(1, table);
	oracle_exit();
	irq_restore(flags);
	return oracle_violations() - before;
}

// `step` finds a walker in the table. Returns the violations that the freeing side's half reports.
static u64 found_there(struct space *s, struct page *table, void (*step)(struct page *, const struct table_policy *))
{
	irqflags_t flags = irq_save();
	u64 before = oracle_violations(), found;

	begin_walk(s);
	oracle_publish(1, table);
	before = oracle_violations();
	step(table, s->policy);
	found = oracle_violations() - before;
	oracle_exit();
	irq_restore(flags);
	return found;
}

// LIVE, quiesced, put back, quiesced again, deposited, reused as another one, freed.
TEST(oracle, table_that_is_kept_and_reused, 0)
{
	struct page *tables[PT_LEVELS], *table;
	struct space *s = one_page(tables);
	struct list one;

	REQUIRE(s);
	table = table_alloc(1);
	REQUIRE(table);
	oracle_expect_violations(true);
	EXPECT_EQ(come_upon(s, table), 0);
	quiesce(table);
	EXPECT_EQ(come_upon(s, table), 1);
	table_put_back(table);
	EXPECT_EQ(come_upon(s, table), 0);
	quiesce(table);
	table->private = PT_ENTRIES;
	EXPECT_EQ(found_there(s, table, table_deposit), 1);
	EXPECT_EQ(found_there(s, table, table_reuse), 1);
	EXPECT_EQ(come_upon(s, table), 0);
	table->private = 0;
	flush(table);
	list_init(&one);
	list_push_back(&one, &table->link);
	tables_free(&one, s->policy);
	EXPECT_EQ(come_upon(s, table), 1);
	oracle_expect_violations(false);
	space_put(s);
}

// ---- A walk in an interrupt or an NMI ------------------------------------------------------------------------------

static void hold_until_returned(struct stall_point *p, void *arg)
{
	struct context_walk *sc = arg;

	store_release(&sc->there, 1u);
	spin_until(load_acquire(&sc->returned), "the unmap", -1);
}

// Under `immediate` the freeing side must find the walker in the two tables that it has published: of levels 2 and 3.
static void freer_finds_it(void (*begin)(struct context_walk *))
{
	struct violation v[8];
	unsigned found = 0;

	oracle_reset();
	oracle_expect_violations(true);
	context_unmap_under_walk(policy_find("immediate"), begin, hold_until_returned, false);
	oracle_expect_violations(false);
	for (unsigned i = 0, n = oracle_records(v, ARRAY_SIZE(v)); i < n; i++)
		found += !strcmp(v[i].seen_by, "freer") && v[i].level >= 2 && v[i].walker_cpu == mm_other_cpu(0);
	EXPECT_EQ(found, 2);
}

TEST(oracle, sees_a_walk_in_an_nmi, NEEDS_CPUS2) { freer_finds_it(context_nmi); }
TEST(oracle, sees_a_walk_in_an_interrupt, NEEDS_CPUS2) { freer_finds_it(context_interrupt); }
#endif
