// SPDX-License-Identifier: MIT
// What the software MMUs must not name: the scans at the freeing of a table and of a data page. See swmmu.c.
#include "kernel/cpumask.h"
#include "kernel/panic.h"
#include "lab/counter.h"
#include "lab/mutant.h"
#include "lab/oracle.h"
#include "lab/stall.h"
#include "lab/swmmu_internal.h"
#include "mm/tlb.h"

#if CHECK

static void report(const char *what, const struct swmmu *m, unsigned cpu, unsigned slot, u64 word, const struct table_policy *p)
{
	struct violation v = { .kind = word & SWMMU_LEAF ? VIOLATION_STALE_LEAF : VIOLATION_STALE_TABLE, .seen_by = what };
	const char *policy = READ_ONCE(m->policy), *flush = READ_ONCE(m->flush);

	v.policy = p ? p->name : policy ? policy : "none";
	v.flush = flush ? flush : "none";
	v.table = swmmu_frame(word);
	v.level = swmmu_level(word);
	v.walker_cpu = cpu;
	v.va = READ_ONCE(m->va[slot]);
	oracle_report(&v);
}

// Is this CPU about to drop the entry by itself? A CPU sets `owes` before it clears `lazy`, and keeps it set until the
// entries are gone. So `lazy` is read first: if both are clear and the word is still there, the CPU has kept the entry.
static bool owes_it(const struct swmmu *m, unsigned cpu, u64 word)
{
	bool lazy = READ_ONCE(per_cpu(cpu_tlb, cpu).lazy);
	u32 owes;

	smp_rmb();	// pairs with swmmu_owe()
	owes = load_acquire(&m->owes);
	return owes == SWMMU_OWES_ALL || ((word & SWMMU_LEAF) && (lazy || owes == SWMMU_OWES_LEAVES));
}

// An entry that its CPU is about to drop is marked: it must be gone when the CPU clears `owes`. The CPU may have
// cleared `owes` since we looked, without seeing the mark; so we look again. Whichever CPU removes a mark reports the
// entry, and no other CPU does.
static bool excused(struct swmmu *m, unsigned cpu, unsigned slot, u64 word)
{
	bool vouched = word >> SWMMU_DEBT_SHIFT << SWMMU_DEBT_SHIFT != READ_ONCE(m->debt) << SWMMU_DEBT_SHIFT;
	bool owed;

	if (MUTANT(swmmu_counts_debt))	// an entry that a vouched flush covers is reported
		vouched = false;
	owed = !vouched && owes_it(m, cpu, word);
	if (MUTANT(swmmu_counts_owed))	// an entry that its CPU is about to drop is reported
		owed = false;
	if (vouched)
		return true;
	if (owed) {
		// A CPU is about to drop an entry, which is not marked yet
		STALL(swmmu_excusing, NULL, READ_ONCE(m->va[slot]), swmmu_level(word));
		if (MUTANT(swmmu_no_mark))	// an entry that its CPU is about to drop is excused, and not marked
			return true;
		if (!cmpxchg(&m->word[slot], word, word | SWMMU_OWED))
			return true;	// dropped, or marked by another scan
		word |= SWMMU_OWED;
		WRITE_ONCE(m->marked, 1);
		smp_mb();	// pairs with swmmu_owe(), which looks for marks after it has cleared `owes`
		if (owes_it(m, cpu, word))
			return true;
	}
	if (word & SWMMU_OWED)
		return !cmpxchg(&m->word[slot], word, word & ~SWMMU_OWED);
	return (READ_ONCE(m->word[slot]) & ~SWMMU_OWED) != word;
}

struct range {
	paddr_t start, end;
	bool leaf;			// leaves that map any of it, or pointers to the table
};

static bool names(u64 word, const struct range *r)
{
	paddr_t start = swmmu_frame(word), end = r->end;
	u64 size = r->leaf ? level_size(swmmu_level(word)) : PAGE_SIZE;

	if (MUTANT(swmmu_one_frame))	// a large leaf is taken to map one frame
		size = PAGE_SIZE;
	if (MUTANT(swmmu_first_frame))	// of a block only the first frame is looked for
		end = r->start + PAGE_SIZE;
	if (MUTANT(swmmu_counts_pending))	// an entry that is not yet confirmed is reported
		word &= ~(u64)SWMMU_PENDING;
	if (MUTANT(swmmu_no_tables) && !r->leaf)	// no pointer to a table is looked for
		return false;
	if (!(word & SWMMU_VALID) || word & SWMMU_PENDING || !!(word & SWMMU_LEAF) != r->leaf)
		return false;
	return start < end && start + size > r->start;
}

static bool scan_cpu(unsigned cpu, const struct range *r, const struct table_policy *p)
{
	struct swmmu *m = per_cpu_ptr(&swmmu, cpu);
	bool hit = false;

	for (u64 left = READ_ONCE(m->used); left; left &= left - 1) {
		unsigned slot = (unsigned)__builtin_ctzll(left);
		u64 word = load_acquire(&m->word[slot]);

		if (names(word, r) && !excused(m, cpu, slot, word)) {
			report("adversary", m, cpu, slot, word, p);
			hit = true;
		}
	}
	return hit;
}

static bool scan(const struct range *r, const struct table_policy *p)
{
	bool hit = false;

	smp_mb();	// a walk whose word is not seen here sees what was unlinked before
	count(swmmu_checks);
	for_each_cpu_in(cpu, &swmmu_filled)
		hit |= scan_cpu(cpu, r, p);
	return hit;
}

static bool root_is_loaded(paddr_t root, const struct table_policy *p)
{
	bool hit = false;

	for_each_cpu(cpu) {
		struct swmmu *m = per_cpu_ptr(&swmmu, cpu);

		if (READ_ONCE(m->root) != root)
			continue;
		report("adversary", m, cpu, 0, (u64)PT_LEVELS << SWMMU_LEVEL_SHIFT | root >> PAGE_SHIFT, p);	// va: any will do
		hit = true;
	}
	return hit;
}

bool swmmu_table_freed(const struct page *table, const struct table_policy *p)
{
	paddr_t pa = page_to_phys(table);
	const struct range r = { .start = pa, .end = pa + PAGE_SIZE };

	bool found = scan(&r, p);

	if (MUTANT(swmmu_no_root))	// a root may be freed while a CPU has it loaded
		return found;
	return found | (table->table_level == PT_LEVELS && root_is_loaded(pa, p));
}

void swmmu_page_freed(const struct page *head, unsigned order)
{
	paddr_t pa = page_to_phys(head);
	const struct range r = { .start = pa, .end = pa + (PAGE_SIZE << order), .leaf = true };

	scan(&r, NULL);
}

static void look_for_leaves(const struct page *head)
{
	if (READ_ONCE(head->kind) == PAGE_ANON)
		swmmu_page_freed(head, READ_ONCE(head->order));
}
FRAME_FREED(look_for_leaves);

void swmmu_settle_marks(void)
{
	struct swmmu *m = this_cpu_ptr(&swmmu);

	if (likely(!READ_ONCE(m->marked)))
		return;
	xchg(&m->marked, 0u);	// full barrier: a mark made after this sets `marked` again; pairs with excused()
	for (u64 left = READ_ONCE(m->used); left; left &= left - 1) {
		unsigned slot = (unsigned)__builtin_ctzll(left);
		u64 word = READ_ONCE(m->word[slot]);

		if (!(word & SWMMU_OWED))
			continue;
		if ((word & SWMMU_LEAF) && READ_ONCE(this_cpu_ptr(&cpu_tlb)->lazy)) {	// still to be dropped
			WRITE_ONCE(m->marked, 1);
			continue;
		}
		if (cmpxchg(&m->word[slot], word, word & ~SWMMU_OWED))	// or an NMI dropped it, or the scan reports it
			report("adversary, after its CPU had caught up", m, cpu_id(), slot, word, NULL);
	}
}

enum swmmu_owes swmmu_owe(enum swmmu_owes what)
{
	struct swmmu *m = this_cpu_ptr(&swmmu);
	enum swmmu_owes before = READ_ONCE(m->owes);

	store_release(&m->owes, (u32)what);
	// `owes` is set before `lazy` is cleared, and cleared before marks are read: pairs with owes_it(), excused()
	smp_mb();
	if (what == SWMMU_OWES_NOTHING)
		swmmu_settle_marks();
	return before;
}

static const struct swmmu *of(unsigned cpu) { return per_cpu_ptr(&swmmu, cpu); }

static bool has(unsigned cpu, vaddr_t va, u64 leaf, int level)
{
	const struct swmmu *m = of(cpu);

	for (unsigned slot = 0; slot < SWMMU_SLOTS; slot++) {
		u64 word = READ_ONCE(m->word[slot]);

		if ((word & (SWMMU_VALID | SWMMU_PENDING | SWMMU_LEAF)) == (SWMMU_VALID | leaf) &&
		    (leaf || swmmu_level(word) == level) && swmmu_covers(word, READ_ONCE(m->va[slot]), va))
			return true;
	}
	return false;
}

bool swmmu_has_leaf(unsigned cpu, vaddr_t va) { return has(cpu, va, SWMMU_LEAF, 0); }
bool swmmu_has_table(unsigned cpu, vaddr_t va, int level) { return has(cpu, va, 0, level); }
#endif
