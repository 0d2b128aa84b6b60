// SPDX-License-Identifier: MIT
// Each unmapper, in a space of its own and sometimes in another's, takes slots down and puts them up again; the walkers pin, read
// and write what they find. A slot is out of the way only for short, and there are many: most walks take the fast path.
//
//	group g: its own entry of the root, so that unmapping the group frees tables of levels 3, 2 and 1
//	+0      slot 0: 4 pages                     } share the L2 table: unmapping one frees an L1 table
//	+2 MiB  slot 1: 2 pages                     }
//	+1 GiB  slot 2: 3 pages                       has its own L2 table: frees levels 2 and 1
//	+2 GiB  slot 3: 2 pages across two L1 tables, or in the first groups one large page of 2 MiB
//
// Walker 0 lingers now and then, with interrupts as the policy has them, before it reads a table of group 0; when it does, the
// space's unmapper is likely to take that group down. So whatever lets a table go too early is found soon.
#include "tests/mm_load.h"
#include "kernel/errno.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/rcu.h"
#include "kernel/stall.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "mm/oracle.h"
#include "mm/slab.h"
#include "mm/space.h"
#include "mm/table.h"
#include "mm/walk.h"
#include "tests/mm_help.h"

#define GROUPS 32
#define SLOTS 4
#define LARGE_GROUPS 2
#define MAX_SPACES 8
#define MOST_PAGES 4
#define LINGER_NS (10 * NSEC_PER_MSEC)		// at most so long for the table to be unlinked
#define FREE_NS (20 * NSEC_PER_MSEC)		// then for it to be freed, if nobody is waiting for this walk
#define NO_FREE_NS NSEC_PER_MSEC		// or if somebody should be
#define RANDOM(w, n) ((unsigned)(rand_next(&(w)->seed) % (n)))

struct load {
	struct space *space[MAX_SPACES];
	unsigned nr_spaces;
	bool safe;		// only then may a pinned page be written to: an unsafe pair may hand out anybody's
	u32 stop;
	u32 lingering;		// 1 + the space in which walker 0 lingers, or 0
};

struct worker {
	struct load *load;
	unsigned index;		// among all workers: the stamp's owner, the word that is its own
	bool lingers;		// walker 0, if it may: in which space, and not again before (ns)
	unsigned lingers_at;
	u64 next_linger;
	unsigned at;		// the space that an unmapper calls its own
	u64 seed;
	struct mm_load_result found;
	struct thread *thread;
} __cacheline;

struct slot {
	vaddr_t va;
	unsigned pages;		// of 4 KiB, with a stamp each
	int level;
};

static vaddr_t group_base(unsigned g) { return (vaddr_t)(g + 1) << level_shift(4); }

static struct slot slot_of(unsigned g, unsigned i)
{
	vaddr_t base = group_base(g);

	switch (i) {
	case 0: return (struct slot){ base, 4, 1 };
	case 1: return (struct slot){ base + level_size(2), 2, 1 };
	case 2: return (struct slot){ base + level_size(3), 3, 1 };
	default: break;
	}
	if (g < LARGE_GROUPS)
		return (struct slot){ base + 2 * level_size(3), MOST_PAGES, 2 };
	return (struct slot){ base + 2 * level_size(3) + level_size(2) - PAGE_SIZE, 2, 1 };
}

static u64 slot_bytes(const struct slot *s) { return s->level == 1 ? s->pages * PAGE_SIZE : level_size(s->level); }

// Even, so that a walk that takes a page for a table finds nothing present in it.
static u64 stamp_of(unsigned space, vaddr_t va) { return (va & ~(PAGE_SIZE - 1)) | (space + 1) << 1; }

// The stamps of a slot that has just been mapped. Another unmapper may have taken it down again: no matter.
static void stamp_slot(struct load *l, unsigned at, const struct slot *s)
{
	for (unsigned i = 0; i < s->pages; i++) {
		vaddr_t va = s->va + i * PAGE_SIZE;
		struct page *page;

		if (walk_pin(l->space[at], va, true, &page))
			continue;
		if (l->safe || READ_ONCE(page_head(page)->kind) == PAGE_ANON)
			WRITE_ONCE(*(u64 *)page_to_virt(page), stamp_of(at, va));
		page_unpin(page, true);
	}
}

static void check_error(struct worker *w, int err, int allowed)
{
	if (err == -ENOMEM)
		w->found.no_memory++;
	else if (err && err != allowed)
		w->found.errors++;
}

// At once, or page by page on demand.
static void put_up(struct worker *w, unsigned at, const struct slot *s)
{
	struct space *space = w->load->space[at];
	unsigned flags = RANDOM(w, 4) ? MAP_POPULATE : 0;

	check_error(w, space_map(space, s->va, slot_bytes(s), PROT_R | PROT_W, s->level, flags), -EEXIST);	// another was first
	for (unsigned i = 0; i < s->pages && !flags; i++)
		check_error(w, space_fault(space, s->va + i * PAGE_SIZE, true), -EFAULT);	// gone again
	stamp_slot(w->load, at, s);
}

static void take_group(struct worker *w, unsigned at, unsigned g)
{
	check_error(w, space_unmap(w->load->space[at], group_base(g), level_size(4)), 0);
	for (unsigned i = 0; i < SLOTS; i++) {
		struct slot s = slot_of(g, i);

		put_up(w, at, &s);
	}
}

static void take_slot(struct worker *w, unsigned at, struct slot s)
{
	check_error(w, space_unmap(w->load->space[at], s.va, slot_bytes(&s)), 0);
	put_up(w, at, &s);
}

static void take_first_page(struct worker *w, unsigned at, struct slot s)
{
	if (s.level == 1)
		s.pages = 1;
	take_slot(w, at, s);
}

static void change_protection(struct worker *w, unsigned at, struct slot s)
{
	struct space *space = w->load->space[at];

	check_error(w, space_protect(space, s.va, slot_bytes(&s), PROT_R), -ENOENT);
	check_error(w, space_protect(space, s.va, slot_bytes(&s), PROT_R | PROT_W), -ENOENT);
}

static int unmapper(void *arg)
{
	struct worker *w = arg;
	struct load *l = w->load;

	if (w->index & 1)		// half of them run in the space that they change
		space_attach(l->space[w->at]);
	while (!READ_ONCE(l->stop)) {
		unsigned at = RANDOM(w, 8) ? w->at : RANDOM(w, l->nr_spaces);
		unsigned g = RANDOM(w, GROUPS), what = RANDOM(w, 8);
		struct slot s = slot_of(g, RANDOM(w, SLOTS));

		if (READ_ONCE(l->lingering) == w->at + 1 && RANDOM(w, 2)) {
			at = w->at;
			g = what = 0;
		}
		switch (what) {
		case 0: take_group(w, at, g); break;
		case 1: change_protection(w, at, s); break;
		case 2: take_first_page(w, at, s); break;
		default: take_slot(w, at, s); break;
		}
		w->found.operations++;
	}
	if (w->index & 1)
		space_detach();
	return 0;
}

// The frame is pinned: whatever it is now, it stays.
static void judge_pin(struct worker *w, unsigned at, vaddr_t va, struct page *page, bool write)
{
	u64 *word = page_to_virt(page), *own = &word[8 + w->index % 256];
	u64 seen = READ_ONCE(word[0]), mine = rand_next(&w->seed) & ~1ull;

	w->found.pins++;
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

static void read_as_user(struct worker *w, unsigned at, vaddr_t va)
{
	u64 seen;

	if (arch_user_read64_nofault(va, &seen))
		return;
	w->found.user_reads++;
	w->found.bad_reads += seen && seen != stamp_of(at, va);
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

// The table to which the entry of `level` leads; we are inside a walk, which keeps it or, if the policy is wrong, does not.
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

static void wait_for_state(const struct page *table, bool unlinked, u64 ns)
{
	for (u64 end = now_ns() + ns; now_ns() < end;) {
		enum table_state state = mm_state(table);

		if (unlinked ? state != TABLE_LIVE : state == TABLE_FREE)
			return;
		cpu_relax();
	}
}

static void linger(struct stall_point *p, void *arg)
{
	struct worker *w = arg;
	struct page *table = next_table(p->space, p->va_lo, p->level);

	if (!table)
		return;
	WRITE_ONCE(w->load->lingering, w->lingers_at + 1);
	wait_for_state(table, true, LINGER_NS);
	if (mm_state(table) != TABLE_LIVE)
		wait_for_state(table, false, irqs_enabled() ? FREE_NS : NO_FREE_NS);
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

// Move now and then: in and out of a space, or into another.
static void move(struct worker *w, unsigned *attached)
{
	struct load *l = w->load;

	if (current->space)
		space_detach();
	*attached = RANDOM(w, l->nr_spaces + 1);
	if (*attached < l->nr_spaces)
		space_attach(l->space[*attached]);
}

static int walker(void *arg)
{
	struct worker *w = arg;
	struct load *l = w->load;
	unsigned attached = l->nr_spaces;	// none

	for (u64 round = 0; !READ_ONCE(l->stop); round++) {
		struct slot s = slot_of(RANDOM(w, GROUPS), RANDOM(w, SLOTS));
		unsigned at;

		if (round % 64 == 0)
			move(w, &attached);
		at = attached < l->nr_spaces && RANDOM(w, 4) ? attached : RANDOM(w, l->nr_spaces);
		if (w->lingers && now_ns() >= w->next_linger)
			pin_and_linger(w, at);
		pin_some(w, at, s, RANDOM(w, s.pages));
		if (at == attached)
			read_as_user(w, at, s.va);
	}
	if (current->space)
		space_detach();
	return 0;
}

// CPUs 0, 4, 8, … unmap and all others walk; a single CPU does both.
static bool is_unmapper(unsigned cpu) { return cpu % 4 == 0; }

static bool have_evidence(const struct counters *c, u64 violations, bool safe)
{
	return c->walks >= 1000 && c->frees_l1 && c->frees_l2 && c->frees_l3 &&
	       (!CHECK || nr_cpus == 1 || (c->frees_during_walk && (safe || violations)));
}

static void wait_for_evidence(const struct load *l, unsigned ms, const struct counters *before, u64 violations_before)
{
	u64 start = now_ns(), least = ms * NSEC_PER_MSEC, most = least + MIN(7 * least, 10 * NSEC_PER_SEC), passed;
	struct counters now;

	do {
		thread_sleep_ns(10 * NSEC_PER_MSEC);
		counters_snapshot(&now);
		counters_sub(&now, &now, before);
		passed = now_ns() - start;
	} while (passed < least || (passed < most && !have_evidence(&now, oracle_violations() - violations_before, l->safe)));
}

static bool build_spaces(struct load *l, struct worker *first, const struct table_policy *p, const struct flush_backend *b)
{
	for (unsigned at = 0; at < l->nr_spaces; at++) {
		l->space[at] = space_create_with(p, b);
		if (!l->space[at])
			return false;
		for (unsigned k = 0; k < GROUPS * SLOTS; k++) {
			struct slot s = slot_of(k / SLOTS, k % SLOTS);

			put_up(first, at, &s);
		}
	}
	return true;
}

static bool start_workers(struct load *l, struct worker *workers, unsigned n, u64 seed, struct mm_load_result *r)
{
	for (unsigned i = 0; i < n; i++) {
		struct worker *w = &workers[i];
		unsigned cpu = i % nr_cpus;
		bool unmaps = i == cpu && is_unmapper(cpu);

		*w = (struct worker){ .load = l, .index = i, .seed = seed ^ (u64)(i + 1) << 32 };
		if (unmaps)
			w->at = r->unmappers++ % l->nr_spaces;
		else
			w->lingers = !r->walkers++;
		w->thread = mm_thread(unmaps ? "unmapper" : "walker", unmaps ? unmapper : walker, w, cpu);
		if (!w->thread)
			return false;
	}
	return true;
}

static void join_workers(struct worker *workers, unsigned n, struct mm_load_result *r)
{
	for (unsigned i = 0; i < n; i++) {
		struct mm_load_result *f = &workers[i].found;

		if (workers[i].thread)
			mm_join(workers[i].thread);
		r->pins += f->pins;
		r->user_reads += f->user_reads;
		r->operations += f->operations;
		r->no_memory += f->no_memory;
		r->bad_pins += f->bad_pins;
		r->lost_writes += f->lost_writes;
		r->bad_reads += f->bad_reads;
		r->errors += f->errors;
	}
}

static int run(struct load *l, struct worker *workers, unsigned n, u64 seed, unsigned ms, struct mm_load_result *r)
{
	struct counters before;
	u64 violations = oracle_violations(), start;
	bool ok;

	counters_snapshot(&before);
	start = now_ns();
	ok = start_workers(l, workers, n, seed, r);
	if (ok)
		wait_for_evidence(l, ms, &before, violations);
	WRITE_ONCE(l->stop, 1);
	join_workers(workers, n, r);
	r->ns = now_ns() - start;
	rcu_barrier();		// what was deferred is part of the run
	counters_snapshot(&r->counted);
	counters_sub(&r->counted, &r->counted, &before);
	r->violations = oracle_violations() - violations;
	return ok ? 0 : -ENOMEM;
}

int run_mm_load(const struct table_policy *policy, const struct flush_backend *flush, u64 seed, unsigned ms,
		struct mm_load_result *r)
{
	struct load l = { .nr_spaces = MIN((nr_cpus + 3) / 4, (unsigned)MAX_SPACES), .safe = pair_verdict(policy, flush).safe };
	unsigned n = MAX(nr_cpus, 2u);
	struct worker *workers = kzalloc(n * sizeof(*workers)), first = { .load = &l, .seed = seed };
	int err = -ENOMEM;

	*r = (struct mm_load_result){ .spaces = l.nr_spaces };
	if (!workers)
		return err;
	if (!l.safe)
		oracle_expect_violations(true);
	if (build_spaces(&l, &first, policy, flush))
		err = run(&l, workers, n, seed, ms, r);
	for (unsigned at = 0; at < l.nr_spaces; at++)
		if (l.space[at])
			space_put(l.space[at]);
	rcu_barrier();
	if (!l.safe)
		oracle_expect_violations(false);
	kfree(workers);
	return err;
}

bool mm_load_clean(const struct mm_load_result *r)
{
	return !r->violations && !r->bad_pins && !r->lost_writes && !r->bad_reads && !r->errors;
}

void mm_load_print(const struct mm_load_result *r)
{
	const struct counters *c = &r->counted;

	log_info("%lu ms, %u walkers, %u unmappers, %u spaces: %lu walks (%lu fast, %lu remote), %lu operations; tables freed by "
		 "level: %lu %lu %lu, %lu during walks; %lu violations",
		 (u64)(r->ns / NSEC_PER_MSEC), r->walkers, r->unmappers, r->spaces, c->walks, c->walks_fast, c->walks_remote, r->operations,
		 c->frees_l1, c->frees_l2, c->frees_l3, c->frees_during_walk, r->violations);
	if (r->bad_pins || r->lost_writes || r->bad_reads || r->errors || r->no_memory)
		log_warn("%lu pins of another's page, %lu writes lost under a pin, %lu stale reads, %lu errors, %lu times out of memory",
			 r->bad_pins, r->lost_writes, r->bad_reads, r->errors, r->no_memory);
}
