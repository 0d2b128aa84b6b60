// SPDX-License-Identifier: MIT
// The walkers: they pin, read and write what they find, and judge it.
//
// Walker 0 lingers now and then, with interrupts as the policy has them, before it reads a table of group 0; when it
// does, the space's unmapper is likely to take that group down. So whatever lets a table go too early is found soon.
#include "kernel/stall.h"
#include "kernel/test.h"
#include "kernel/thief.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "mm/walk.h"
#include "tests/mm_help.h"
#include "tests/mm_load_parts.h"

#define LINGER_NS (10 * NSEC_PER_MSEC)		// at most so long for the table to be unlinked
#define FREE_NS (20 * NSEC_PER_MSEC)		// then for it to be freed, if nobody is waiting for this walk
#define NO_FREE_NS NSEC_PER_MSEC		// or if somebody should be
#define MOST_LINGER_NS (2 * NSEC_PER_SEC)
#define THEFT_NS NSEC_PER_MSEC

// The frame is pinned: whatever it is now, it stays.
static void judge_pin(struct worker *w, unsigned at, vaddr_t va, struct page *page, bool write)
{
	u64 *word = page_to_virt(page), *own = &word[8 + w->index % 256];
	u64 seen = READ_ONCE(word[0]), mine = rand_next(&w->seed) & ~1ull;

	WRITE_ONCE(w->found.pins, w->found.pins + 1);
	if (READ_ONCE(page_head(page)->kind) != PAGE_ANON || (seen && seen != stamp_of(at, va))) {
		w->found.bad_pins++;
	} else if (write && w->load->safe) {
		WRITE_ONCE(*own, mine);
		for (int i = 0; i < 32; i++)
			cpu_relax();
		w->found.lost_writes += READ_ONCE(*own) != mine;
	}
	page_unpin(page, write);
}

void read_as_user(struct worker *w, vaddr_t va)
{
	u64 seen;

	if (arch_user_read64_nofault(va, &seen))
		return;
	w->found.user_reads++;
	w->found.bad_reads += seen && seen != stamp_of(w->inside, va);
}

static void pin_some(struct worker *w, unsigned at, struct slot s, unsigned first)
{
	struct page *pages[MOST_PAGES];
	bool write = !RANDOM(w, 8);
	unsigned how = RANDOM(w, 8), n = 0;
	vaddr_t va = s.va + first * PAGE_SIZE;

	if (how == 0)
		n = walk_pin(w->load->space[at], va, write, pages) == 0;
	else if (how == 1)
		n = walk_pin_range(w->load->space[at], va, s.pages - first, write, pages);
	else
		n = walk_pin_fast(w->load->space[at], va, 1, write, pages);
	for (unsigned i = 0; i < n; i++)
		judge_pin(w, at, va + i * PAGE_SIZE, pages[i], write);
}

#if CHECK
STALL_DECLARE(walk_level);

// The table to which the entry of `level` leads; we are inside a walk, which keeps it or, if the policy is wrong, does
// not.
static struct page *next_table(const struct space *s, vaddr_t va, int level)
{
	pte_t *table = s->root, v = 0;

	for (int l = PT_LEVELS; l >= level; l--) {
		v = pte_read(&table[pt_index(va, l)]);
		if (!pte_present(v) || !page_valid(pte_addr(v)))
			return NULL;
		table = phys_to_virt(pte_addr(v));
	}
	return page_of(pte_addr(v));
}

// Until the table has been unlinked, or has gone further and is FREE. With interrupts off the time may be spent robbed. For it
// to be unlinked all others have their run, however busy the host is: some free tables of another space meanwhile.
static void wait_for_state(const struct page *table, bool unlinked, u64 ns, bool robbed)
{
	struct test_wait others = test_wait(unlinked);
	u64 end = now_ns() + ns;

	while (now_ns() < end || test_hold_on(&others)) {
		enum table_state state = mm_state(table);

		if (unlinked ? state != TABLE_LIVE : state == TABLE_FREE)
			return;
		if (robbed)
			thief_rob(cpu_id(), THEFT_NS);
		else
			cpu_relax();
	}
}

// The pair says how to linger. A walker with interrupts on answers flushes in the middle of its walk. One with interrupts
// off must be passed over: by a back-end that spares robbed CPUs it is if it is robbed, by the others that prove nothing
// it is interrupted all the same. (Where a hypervisor owns the records, it robs us.) A safe pair gets a bit of both.
static bool linger_robbed(struct worker *w)
{
	if (irqs_enabled() || !thief_works())
		return false;
	return w->load->safe ? !RANDOM(w, 4) : w->load->flush->spares_robbed;
}

static void linger(struct stall_point *p, void *arg)
{
	struct worker *w = arg;
	struct page *table = next_table(p->space, p->va_lo, p->level);
	bool robbed = linger_robbed(w);
	// An unsafe pair is to be convicted however slow the machine is; a safe one must not be held up for so long.
	u64 patience = w->load->safe ? 0 : MIN(8 * READ_ONCE(w->load->op_ns), MOST_LINGER_NS);

	if (!table)
		return;
	WRITE_ONCE(w->load->lingering, w->lingers_at + 1);
	wait_for_state(table, true, MAX(LINGER_NS, patience), robbed);
	if (mm_state(table) != TABLE_LIVE) {
		WRITE_ONCE(w->load->chances, w->load->chances + 1);
		wait_for_state(table, false, irqs_enabled() || !w->load->safe ? MAX(FREE_NS, patience) : NO_FREE_NS, robbed);
	}
	WRITE_ONCE(w->load->lingering, 0);
}

// Half of walker 0's time. Only it arms the point, and only its CPU matches.
static void pin_and_linger(struct worker *w, unsigned at)
{
	struct slot s = slot_of(0, RANDOM(w, SLOTS));
	u64 start = now_ns();

	w->lingers_at = at;
	stall_walk_level.action = linger;
	stall_walk_level.arg = w;
	stall_walk_level.cpu = (int)cpu_id();
	stall_arm(&stall_walk_level, w->load->space[at], s.va, s.va + PAGE_SIZE, 2 + (int)RANDOM(w, 3));
	pin_some(w, at, s, 0);
	stall_release(&stall_walk_level);
	w->next_linger = 2 * now_ns() - start;
}
#else
static void pin_and_linger(struct worker *w, unsigned at) { w->next_linger = ~0ull; }
#endif

int walker(void *arg)
{
	struct worker *w = arg;
	struct load *l = w->load;

	for (u64 round = 0; !READ_ONCE(l->stop); round++) {
		struct slot s = slot_of(RANDOM(w, GROUPS), RANDOM(w, SLOTS));
		unsigned at;

		if (round % 64 == 0) {
			go_in_or_out(w, RANDOM(w, l->nr_spaces + 1));
			wander(w);
		}
		at = w->inside < l->nr_spaces && RANDOM(w, 4) ? w->inside : RANDOM(w, l->nr_spaces);
		if (w->lingers && now_ns() >= w->next_linger)
			pin_and_linger(w, at);
		pin_some(w, at, s, RANDOM(w, s.pages));
		if (at == w->inside)
			read_as_user(w, s.va);
	}
	go_in_or_out(w, l->nr_spaces);
	return 0;
}
