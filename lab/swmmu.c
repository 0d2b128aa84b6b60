// SPDX-License-Identifier: MIT
// The software MMU: its walk, what fills it, and what its CPU's invalidations drop. The checks are in swmmu_check.c.
//
//	walk of a CPU (IRQs off)                   the CPU that flushes
//	------------------------                   --------------------
//	seq = number of own invalidations          clear the entry
//	read the entry                             full barrier; read the CPU masks
//	store the word, PENDING                    interrupt or NMI ──> that CPU drops, seq++
//	seq unchanged?                             (all CPUs have answered)
//	PENDING -> confirmed (cmpxchg)             free: mark, full barrier, read all words
//
// No interrupt comes between two steps of a walk, so a flush by interrupt comes before or after all of it. An NMI may come
// anywhere: its invalidation drops what is PENDING too, and then the walk's own cmpxchg fails; or seq has changed. In both
// cases the walk begins anew. So a confirmed word that a scan finds after the flush was not read before the flush.
// A CPU that is in no mask had not loaded the root when the masks were read: its walks read the entry later (tlb.h, A).
//
// A walk descends from the lowest cached table pointer that covers the address, however old it is, and only then reads
// memory. It sees valid entries only and stops at anything else, poison included.
//
// Debt: after a flush that a CPU does not see itself (a hypervisor's), swmmu_vouch() advances that CPU's `debt`. Each
// word carries the `debt` that was read before its entry was. A scan excuses a word with an older `debt`, and the CPU
// drops all words before it uses any again.
// Marks: a scan excuses a word that its CPU is about to drop by itself (in lazy TLB mode: leaves; in the middle of
// catching up; preempted with the flush flag set), and marks it. When the CPU says that it has caught up, no marked
// word may be left: a CPU that forgets to catch up is found there.
//
// Not modelled: the kernel's half, global entries, PCIDs, accessed bits of speculative walks, instruction fetches.
#include "kernel/cmdline.h"
#include "kernel/cpumask.h"
#include "kernel/lib.h"
#include "kernel/panic.h"
#include "kernel/time.h"
#include "kernel/xcall.h"
#include "lab/counter.h"
#include "lab/mutant.h"
#include "lab/stall.h"
#include "lab/swmmu_internal.h"
#include "lab/thief.h"
#include "mm/flush/flush.h"
#include "mm/space.h"
#include <arch/machine.h>
#include <arch/tlb.h>

#if CHECK
#define ALL_SLOTS (~0ull)
#define LEAF_SLOTS ((1ull << SWMMU_LEAVES) - 1)
#define PROBES 48		// most entries that a random descent looks at

DEFINE_PER_CPU(struct swmmu, swmmu);
struct cpumask swmmu_filled;
static u32 mode;		// enum swmmu_mode
static u32 quiet;		// nesting of swmmu_quiet()

void swmmu_set_mode(enum swmmu_mode m) { WRITE_ONCE(mode, m); }

void swmmu_quiet(bool on)
{
	if (on)
		fetch_add(&quiet, 1);
	else
		fetch_sub(&quiet, 1);
}

static void enter(struct swmmu *m)
{
	m->busy++;
	barrier();
}

static void leave(struct swmmu *m)
{
	barrier();
	m->busy--;
}

static void drop(struct swmmu *m, unsigned slot)
{
	WRITE_ONCE(m->word[slot], 0ull);
	fetch_and(&m->used, ~(1ull << slot));
	fetch_and(&m->pinned, ~(1ull << slot));
}

// Drop each word that `which` selects, and each word that is not yet confirmed.
static void invalidate(bool (*which)(u64 word, vaddr_t start, vaddr_t va), vaddr_t va)
{
	struct swmmu *m = this_cpu_ptr(&swmmu);
	u64 used;

	enter(m);
	m->seq++;
	used = READ_ONCE(m->used);
	for (u64 left = used; left; left &= left - 1) {
		unsigned slot = (unsigned)__builtin_ctzll(left);
		u64 word = READ_ONCE(m->word[slot]);

		if (!(word & SWMMU_VALID) || (word & SWMMU_PENDING) || which(word, READ_ONCE(m->va[slot]), va))
			drop(m, slot);
	}
	if (used && !READ_ONCE(m->used))
		cpumask_clear_atomic(&swmmu_filled, cpu_id());
	leave(m);
}

static bool all(u64 word, vaddr_t start, vaddr_t va) { return true; }
static bool as_invlpg(u64 word, vaddr_t start, vaddr_t va) { return !(word & SWMMU_LEAF) || swmmu_covers(word, start, va); }
static bool path_to(u64 word, vaddr_t start, vaddr_t va) { return swmmu_covers(word, start, va); }
static bool leaf_at(u64 word, vaddr_t start, vaddr_t va) { return (word & SWMMU_LEAF) && swmmu_covers(word, start, va); }

void swmmu_flush_page(vaddr_t va, bool freed_tables)
{
	invalidate(READ_ONCE(mode) == SWMMU_X86 ? as_invlpg : freed_tables ? path_to : leaf_at, va);
}

void swmmu_flush_user(void) { invalidate(all, 0); }
void swmmu_flush_all(void) { invalidate(all, 0); }

void swmmu_load_root(paddr_t root)
{
	invalidate(all, 0);
	WRITE_ONCE(this_cpu_ptr(&swmmu)->root, root);
}

void swmmu_joined(const struct space *s)
{
	struct swmmu *m = this_cpu_ptr(&swmmu);

	WRITE_ONCE(m->policy, READ_ONCE(s->policy)->name);
	WRITE_ONCE(m->flush, READ_ONCE(s->backend)->name);
}

void swmmu_vouch(unsigned cpu) { fetch_add(&per_cpu_ptr(&swmmu, cpu)->debt, 1); }

// The debt for the words of a walk that begins now. If a flush has been vouched for, all words are dropped first.
static u64 settle_debt(struct swmmu *m)
{
	u64 debt = load_acquire(&m->debt);	// before any entry is read; pairs with swmmu_vouch()

	bool due = debt != m->settled;

	if (MUTANT(swmmu_keeps_debt))	// words that a vouched flush covers stay in use
		due = false;
	if (due) {
		invalidate(all, 0);
		m->settled = debt;
	}
	return debt << SWMMU_DEBT_SHIFT;
}

static u64 random_bits(struct swmmu *m)
{
	if (!m->random)
		m->random = opt_seed ^ (u64)(cpu_id() + 1) << 32;
	return rand_next(&m->random);
}

// Where a new word goes: the slot with the same translation, a free one, or one at random that is not pinned; -1: none.
static int choose_slot(struct swmmu *m, u64 word, vaddr_t start, bool pin)
{
	u64 mine = word & SWMMU_LEAF ? LEAF_SLOTS : ~LEAF_SLOTS, used = READ_ONCE(m->used), candidates;

	for (u64 left = used & mine; left; left &= left - 1) {
		unsigned slot = (unsigned)__builtin_ctzll(left);

		if (swmmu_level(READ_ONCE(m->word[slot])) == swmmu_level(word) && READ_ONCE(m->va[slot]) == start)
			return (int)slot;
	}
	candidates = mine & ~used;
	if (MUTANT(swmmu_pushes_out))	// what is filled at random may take the place of what a test has primed
		pin = true;
	if (!candidates)
		candidates = mine & ~(pin ? 0 : READ_ONCE(m->pinned));
	if (!candidates)
		return -1;
	for (u64 n = random_bits(m) % (u64)__builtin_popcountll(candidates); n; n--)
		candidates &= candidates - 1;
	return __builtin_ctzll(candidates);
}

// Cache one entry, unless an invalidation has come (in an NMI) since seq: then false, as if it had never been read.
static bool cache(struct swmmu *m, u64 word, vaddr_t start, bool pin, u64 seq)
{
	int slot = choose_slot(m, word, start, pin);
	u64 bit;

	if (slot < 0)
		return m->seq == seq;
	bit = 1ull << slot;
	WRITE_ONCE(m->word[slot], 0ull);
	WRITE_ONCE(m->va[slot], start);
	if (!cpumask_test(&swmmu_filled, cpu_id()))
		cpumask_set_atomic(&swmmu_filled, cpu_id());
	fetch_or(&m->used, bit);
	if (pin)
		fetch_or(&m->pinned, bit);
	WRITE_ONCE(m->word[slot], word | SWMMU_PENDING);
	barrier();
	STALL(swmmu_pending, NULL, start, swmmu_level(word));	// the entry is stored, and not yet confirmed
	if (MUTANT(swmmu_no_reread))	// it is cached although a flush has come since it was read
		seq = READ_ONCE(m->seq);
	if (READ_ONCE(m->seq) != seq || !cmpxchg(&m->word[slot], word | SWMMU_PENDING, word)) {
		drop(m, (unsigned)slot);
		return false;
	}
	count(swmmu_fills);
	return true;
}

// Where a walk stands: about to read the entry for va in `table`.
struct position {
	paddr_t table;
	int level;
	u64 permits;	// SWMMU_WRITE, or 0
};

static struct position begin(struct swmmu *m, vaddr_t va)
{
	struct position p = { .table = arch_current_root(), .level = PT_LEVELS, .permits = SWMMU_WRITE };

	if (MUTANT(swmmu_from_root))	// a walk begins in memory, not at what is cached
		return p;
	for (u64 left = READ_ONCE(m->used) & ~LEAF_SLOTS; left; left &= left - 1) {
		unsigned slot = (unsigned)__builtin_ctzll(left);
		u64 word = READ_ONCE(m->word[slot]);

		if ((word & SWMMU_VALID) && swmmu_level(word) < p.level && swmmu_covers(word, READ_ONCE(m->va[slot]), va))
			p = (struct position){ swmmu_frame(word), swmmu_level(word), word & SWMMU_WRITE };
	}
	return p;
}

static u64 find_leaf(struct swmmu *m, vaddr_t va, bool pin)
{
	for (u64 left = READ_ONCE(m->used) & LEAF_SLOTS; left; left &= left - 1) {
		unsigned slot = (unsigned)__builtin_ctzll(left);
		u64 word = READ_ONCE(m->word[slot]);

		if (!(word & SWMMU_VALID) || !swmmu_covers(word, READ_ONCE(m->va[slot]), va))
			continue;
		if (pin)
			fetch_or(&m->pinned, 1ull << slot);
		return word;
	}
	return 0;
}

// The entry's bits as hardware leaves them; 0: a page fault. Accessed and dirty bits only in an entry that has not
// changed meanwhile, and only for real accesses: a speculative walk sets none here.
static pte_t read_entry(const struct position *p, vaddr_t va, bool real, bool write)
{
	pte_t *e = (pte_t *)phys_to_virt(p->table) + pt_index(va, p->level);
	pte_t v = __atomic_load_n(e, __ATOMIC_ACQUIRE), marked;	// no yield point between the last look at seq and this

	do {
		if (!pte_permits(v, real && write))
			return 0;
		marked = pte_mark_used(v, write && pte_leaf(v, p->level));
	} while (real && marked != v && !__atomic_compare_exchange_n(e, &v, marked, false, __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE));
	return real ? marked : v;
}

// May a walk read entries in this frame? Not in a freed table, to which a stale pointer may lead: its poison would end
// the walk as well. Not in a reserved frame: it was never a table of a space, and if it is no RAM it is not in the
// direct map. (The kernel's root may be reserved. Its user half is empty, so the walk would end there as well.)
static bool walkable(paddr_t table)
{
	const struct page *page;
	u8 kind;

	if (!page_valid(table))
		return false;
	page = page_of(table);
	kind = READ_ONCE(page->kind);
	if (kind != PAGE_RESERVED && (kind != PAGE_TABLE || READ_ONCE(page->table_state) != TABLE_FREE))
		return true;	// as hardware does, whatever else the frame may have become
	count(swmmu_dead_ends);
	return false;
}

enum walk { SPECULATIVE, PRIMING, READING, WRITING };

// Walk down to the leaf for va: its word, or 0. Caches all entries on the way.
static u64 walk(struct swmmu *m, vaddr_t va, enum walk how)
{
	bool real = how >= READING, pin = how == PRIMING;
	struct position p;
	u64 debt, seq, known;
again:
	debt = settle_debt(m);
	seq = READ_ONCE(m->seq);
	known = real ? 0 : find_leaf(m, va, pin);	// a real access has looked: no leaf, or not dirty
	if (known)
		return known;
	p = begin(m, va);
	while (walkable(p.table)) {
		u64 word;
		pte_t v;

		if (READ_ONCE(m->seq) != seq)
			goto again;
		v = read_entry(&p, va, real, how == WRITING);
		STALL(swmmu_read, NULL, va, p.level);	// an entry was read, and what it says is not yet cached
		if (!v || !page_valid(pte_addr(v)))
			return 0;
		if (!pte_writable(v))
			p.permits = 0;
		word = SWMMU_VALID | p.permits | debt | pte_addr(v) >> PAGE_SHIFT;
		if (pte_leaf(v, p.level) && p.level < PT_LEVELS) {
			word |= SWMMU_LEAF | (pte_dirty(v) ? SWMMU_DIRTY : 0) | (u64)p.level << SWMMU_LEVEL_SHIFT;
			if (!cache(m, word, ALIGN_DOWN(va, level_size(p.level)), pin, seq))
				goto again;
			return word;
		}
		word |= (u64)(p.level - 1) << SWMMU_LEVEL_SHIFT;
		if (!cache(m, word, ALIGN_DOWN(va, level_size(p.level)), pin, seq))
			goto again;
		p.table = pte_addr(v);
		p.level--;
	}
	return 0;
}

// A page fault drops what would translate the address (SDM vol. 3, 4.10.4.1).
static bool fault(struct swmmu *m, vaddr_t va)
{
	invalidate(path_to, va);
	leave(m);
	return false;
}

bool swmmu_access(vaddr_t va, bool write, paddr_t *pa)
{
	struct swmmu *m = this_cpu_ptr(&swmmu);
	u64 word, need = SWMMU_VALID | (write ? SWMMU_WRITE : 0);

	if (va >= USER_END)
		return false;
	enter(m);
	settle_debt(m);
	if (!MUTANT(swmmu_no_settle))	// an access does not check that what its CPU had to drop is gone
		swmmu_settle_marks();
	word = find_leaf(m, va, false);
	if (!word || (write && (word & SWMMU_WRITE) && !(word & SWMMU_DIRTY)))
		word = walk(m, va, write ? WRITING : READING);
	if ((word & need) != need)
		return fault(m, va);
	*pa = swmmu_frame(word) + (va & (swmmu_reach(word) - 1));
	leave(m);
	return true;
}

// A present entry of the table, from where the last descent left off; -1: none within the probes that are left.
static int probe(struct swmmu *m, const struct position *p, unsigned *probes)
{
	unsigned n = p->level == PT_LEVELS ? USER_ROOT_ENTRIES : PT_ENTRIES;
	const pte_t *table = phys_to_virt(p->table);
	u32 *at = &m->next_probe[p->level - 1];

	if (!(random_bits(m) & 3))	// otherwise begin where the last entry was found
		*at += 1;
	for (; *probes; --*probes, ++*at) {
		*at %= n;
		if (pte_valid(__atomic_load_n(&table[*at], __ATOMIC_ACQUIRE)))
			return (int)*at;
	}
	return -1;
}

// Find an address that is mapped by looking around in the tables, then walk to it. What is read here is only a hint.
static void descend_at_random(struct swmmu *m)
{
	struct position p = { .table = arch_current_root(), .level = PT_LEVELS };
	unsigned probes = PROBES;
	vaddr_t va = 0;

	while (walkable(p.table)) {
		int i = probe(m, &p, &probes);
		pte_t v;

		if (i < 0)
			break;
		va |= (u64)i << level_shift(p.level);
		v = __atomic_load_n((pte_t *)phys_to_virt(p.table) + i, __ATOMIC_ACQUIRE);
		if (!pte_valid(v) || pte_leaf(v, p.level) || p.level == 1)
			break;
		p = (struct position){ .table = pte_addr(v), .level = p.level - 1 };
	}
	if (p.level < PT_LEVELS)
		walk(m, va, SPECULATIVE);
}

void swmmu_speculate(void)
{
	struct swmmu *m = this_cpu_ptr(&swmmu);

	bool still = READ_ONCE(quiet);

	if (MUTANT(swmmu_not_quiet))
		still = false;
	if (m->busy || still || !READ_ONCE(m->root) || arch_current_root() == arch_kernel_root())
		return;
	enter(m);
	settle_debt(m);
	descend_at_random(m);
	leave(m);
}

void swmmu_speculate_rarely(void)
{
	struct swmmu *m = this_cpu_ptr(&swmmu);

	if (!m->busy && !(random_bits(m) & 7))
		swmmu_speculate();
}
TICK_HANDLER(swmmu_speculate);
NMI_HANDLER(swmmu_speculate);

// A CPU that the thief preempts flushes everything before it goes on, if it is asked to.
static void robbed(bool begins)
{
	struct swmmu *m = this_cpu_ptr(&swmmu);

	if (begins) {
		swmmu_speculate();	// so that there is something stale
		m->owed_when_robbed = swmmu_owe(SWMMU_OWES_ALL);
	} else {
		swmmu_owe(m->owed_when_robbed);
	}
}
THEFT_HANDLER(robbed);

struct primed {
	vaddr_t va;
	bool leaf;
};

static void prime_here(void *arg)
{
	struct swmmu *m = this_cpu_ptr(&swmmu);
	struct primed *p = arg;

	enter(m);
	p->leaf = walk(m, p->va, PRIMING) != 0;
	leave(m);
}

bool swmmu_prime(unsigned cpu, vaddr_t va)
{
	struct primed p = { .va = va };
	irqflags_t flags;

	ASSERT(va < USER_END);
	if (cpu != cpu_id()) {
		xcall_one(cpu, prime_here, &p);
		return p.leaf;
	}
	flags = irq_save();
	prime_here(&p);
	irq_restore(flags);
	return p.leaf;
}
#endif
