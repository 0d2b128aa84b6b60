// SPDX-License-Identifier: MIT
// What the quarantine of checking builds promises (lab/quarantine.c): a freed table is poisoned, from its first word to
// its last, for as long as it stays; a write to it is found; and a table that was found in use is never allocated
// again.
#include "kernel/lib.h"
#include "lab/oracle.h"
#include "lab/quarantine.h"
#include "lab/test.h"
#include "mm/table.h"
#include "tests/mm/help.h"
#include "tests/mm/walk/hold.h"

#if CHECK
// Returns a table that was freed at once, as there is no walker.
static struct page *freed_table(void)
{
	struct space *s = space_create_with(policy_find("immediate"), flush_find("ipi"));
	struct page *table = NULL;

	if (EXPECT(s) && EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0)) {
		table = mm_table(s, BASE, 1);
		EXPECT_EQ(space_unmap(s, BASE, PAGE_SIZE), 0);
		EXPECT(table && mm_state(table) == TABLE_FREE);
	}
	if (s)
		space_put(s);
	return table;
}

static bool kept(const struct page *table) { return table->kind == PAGE_TABLE && mm_state(table) == TABLE_FREE; }

TEST(quarantine, holds_poison, 0)
{
	struct page *table = freed_table();
	const u64 *words;

	REQUIRE(table);
	words = page_to_virt(table);
	EXPECT(words[0] != 0 && mm_poisoned(table));
	for (unsigned i = 1; i < PT_ENTRIES; i++)
		EXPECT(words[i] == words[0]);
}

static void write_and_let_go(unsigned word)
{
	struct page *table = freed_table();
	u64 spoiled = quarantine_spoiled();

	REQUIRE(table);
	((u64 *)page_to_virt(table))[word] ^= 1ull << 40;
	quarantine_expect(table);
	quarantine_drain();
	quarantine_expect(NULL);
	EXPECT_EQ(quarantine_spoiled() - spoiled, 1);
	EXPECT(kept(table));
}

TEST(quarantine, finds_who_writes, 0)
{
	write_and_let_go(0);
	write_and_let_go(PT_ENTRIES / 2);
	write_and_let_go(PT_ENTRIES - 1);
}

// A table that was detached as empty need not be zeroed when it is used again. So one that is not empty must be found,
// and stays in the quarantine for ever.
TEST(quarantine, finds_what_was_said_to_be_empty, 0)
{
	u64 spoiled = quarantine_spoiled();
	struct page *table = table_alloc(1);
	struct list one;

	REQUIRE(table);
	table_set_state(table, TABLE_LIVE, TABLE_UNLINKED);
	table->private = TABLE_EMPTIED;
	table_set_state(table, TABLE_UNLINKED, TABLE_FLUSHED);
	((u64 *)page_to_virt(table))[PT_ENTRIES - 1] = 1;
	quarantine_expect(table);
	list_init(&one);
	list_push_back(&one, &table->link);
	tables_free(&one, policy_find("immediate"));
	quarantine_expect(NULL);
	EXPECT_EQ(quarantine_spoiled() - spoiled, 1);
	quarantine_drain();
	EXPECT(kept(table));
}

TEST(quarantine, lets_go_of_all_others, 0)
{
	struct page *table = freed_table();

	REQUIRE(table && kept(table));
	quarantine_drain();
	EXPECT(!kept(table));
}

// A walker was in two of the tables when they were freed.
TEST(quarantine, keeps_what_was_found_in_use, NEEDS_CPUS2)
{
	struct violation v[4];
	unsigned n, found = 0;
	struct held_walk h;

	oracle_reset();
	oracle_expect_violations(true);
	hold_walk(&h, "immediate", true, 2, false, hold_up_nobody);
	oracle_expect_violations(false);
	quarantine_drain();
	n = oracle_records(v, ARRAY_SIZE(v));
	for (unsigned i = 0; i < n; i++) {
		if (strcmp(v[i].seen_by, "freer"))
			continue;
		found++;
		EXPECT(kept(page_of(v[i].table)));
	}
	EXPECT(found >= 2);
}
#endif
