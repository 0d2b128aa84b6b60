// SPDX-License-Identifier: MIT
// The quarantine: see quarantine.h. A ring of the last tables that became FREE; a table that leaves it waits for a
// grace period.
#include "lab/quarantine.h"
#include "kernel/lib.h"
#include "kernel/panic.h"
#include "kernel/rcu/rcu.h"
#include "kernel/spinlock.h"
#include "lab/mutant.h"
#include "mm/frame/page.h"

#if CHECK
// Its bit 0 is clear: an entry of a freed table is never present, for software and hardware alike.
#define POISON_BYTE 0x5a
#define POISON_WORD 0x5a5a5a5a5a5a5a5aull

#define QUARANTINE_PAGES 64
#define LEAVING_MOST 1024	// more do not wait: if no grace period ends for long, they would hold all memory
static struct {
	struct spinlock lock;
	u32 next, count, leaving;
	u64 spoiled;
	const struct page *to_be_spoiled;	// a test will write to it
	struct page *ring[QUARANTINE_PAGES];
} quarantine = { .lock = SPINLOCK_INIT("quarantine", RANK_SLAB) };

void quarantine_spoilt(const struct page *table, const char *what)
{
	fetch_add(&quarantine.spoiled, 1);
	if (table != READ_ONCE(quarantine.to_be_spoiled))
		warn_at(__FILE__, __LINE__, what);
}

static void leave(struct page *table)
{
	const u64 *words = page_to_virt(table);

	for (unsigned i = 0; i < PAGE_SIZE / sizeof(u64); i++) {
		if (MUTANT(quarantine_forgives))	// a table that was written to is reused
			break;
		if (words[i] != POISON_WORD) {
			quarantine_spoilt(table, "a freed table was written to");
			return;		// never reused
		}
	}
	memset(page_to_virt(table), 0, PAGE_SIZE);
	page_set_zeroed(table);
	page_put(table);
}

static void grace_period_over(struct rcu_head *head)
{
	fetch_sub(&quarantine.leaving, 1);
	leave(container_of(head, struct page, rcu));
}

// Release the table a grace period after it left the ring, so that a walker that has read an entry naming it, and not
// yet published it to the oracle, still finds it FREE. (Every walker has at least preemption off, so it is a reader,
// whatever its policy.)
static void release(struct page *table)
{
	if (fetch_add(&quarantine.leaving, 1) >= LEAVING_MOST)
		grace_period_over(&table->rcu);
	else if (MUTANT(quarantine_no_grace_period))
		grace_period_over(&table->rcu);
	else
		call_rcu(&table->rcu, grace_period_over);
}

static void add(struct page *table)
{
	irqflags_t flags = spin_lock_irqsave(&quarantine.lock);
	struct page *oldest = quarantine.ring[quarantine.next];

	quarantine.ring[quarantine.next] = table;
	quarantine.next = (quarantine.next + 1) % QUARANTINE_PAGES;
	quarantine.count += !oldest;
	spin_unlock_irqrestore(&quarantine.lock, flags);
	if (oldest)
		release(oldest);
}

void quarantine_drain(void)
{
	for (unsigned i = 0; i < QUARANTINE_PAGES; i++) {
		irqflags_t flags = spin_lock_irqsave(&quarantine.lock);
		struct page *table = quarantine.ring[i];

		quarantine.ring[i] = NULL;
		quarantine.count -= !!table;
		spin_unlock_irqrestore(&quarantine.lock, flags);
		if (table)
			release(table);
	}
	rcu_barrier();
}

u64 quarantine_spoiled(void) { return READ_ONCE(quarantine.spoiled); }
void quarantine_expect(const struct page *table) { WRITE_ONCE(quarantine.to_be_spoiled, table); }
u64 quarantine_count(void) { return READ_ONCE(quarantine.count); }

void quarantine_take(struct page *table, bool hit)
{
	size_t size = PAGE_SIZE;

	if (hit && table->table_level == PT_LEVELS)	// a CPU that has it loaded lives on to tell: it keeps the kernel's half
		size = USER_ROOT_ENTRIES * sizeof(u64);
	if (!MUTANT(quarantine_no_poison))
		memset(page_to_virt(table), POISON_BYTE, size);
	if (MUTANT(quarantine_reuses_hit))	// a table that was found in use is reused
		hit = false;
	if (!hit)
		add(table);
}
#endif
