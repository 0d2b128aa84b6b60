// SPDX-License-Identifier: MIT
// Random operations on an area, each done to the model as well. Where the kernel must refuse an operation, or do a part of
// it and then refuse, the model says which part and which error.
#include "user/common/area.h"
#include "user/common/check.h"
#include "user/common/fault.h"
#include "user/common/kernel.h"
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#define FIRST_AREA 0x100000000000ul	// far from whatever the kernel and the libraries place
#define AREA_DISTANCE 0x40000000ul
#define LAST_WORD (PAGE - 8)
#define CODE 64				// where a page that is stamped has a RET
#define RET 0xc3
enum { LONGEST = 24, SHORT = 8 };	// pages of a range: maps are longer than all else, so that little lies in holes

// The pages that an operation is about.
struct range {
	int first, n;
};

void area_init(struct area *a, uint64_t number, uint64_t seed, uint64_t rounds)
{
	memset(a, 0, sizeof(*a));
	a->random.state = seed;
	a->rounds = rounds;
	a->start = FIRST_AREA + number * AREA_DISTANCE;
}

static void *at(const struct area *a, int page) { return (void *)(a->start + page * PAGE); }

static struct range any_range(struct area *a, int most)
{
	int n = 1 + random_below(&a->random, most);

	return (struct range){ random_below(&a->random, AREA_PAGES - n + 1), n };
}

static int any_prot(struct area *a)
{
	static const int prots[] = {
		PROT_NONE, PROT_READ, PROT_READ | PROT_EXEC, PROT_READ | PROT_WRITE | PROT_EXEC,
		PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE,
	};
	return prots[random_below(&a->random, ARRAY_SIZE(prots))];
}

static int count_mapped(const struct area *a, struct range r)
{
	int n = 0;

	for (int i = 0; i < r.n; i++)
		n += a->pages[r.first + i].mapped;
	return n;
}

static void done(struct area *a, int op, bool refused)
{
	a->counts.done[op]++;
	a->counts.refused[op] += refused;
}

// ---- Mapping --------------------------------------------------------------------------------------------------------

static void model_map(struct area *a, struct range r, int prot, int flags)
{
	uint64_t region = ++a->next_region;
	bool touched = flags & MAP_POPULATE && prot != PROT_NONE;

	for (int i = 0; i < r.n; i++)
		a->pages[r.first + i] = (struct area_page){
			.mapped = true, .shared = flags & MAP_SHARED, .prot = prot, .region = region, .resident = touched };
}

static long do_map(struct area *a, struct range r, int prot, int flags)
{
	return raw(SYS_mmap, at(a, r.first), r.n * PAGE, prot, flags | MAP_ANONYMOUS, -1, 0);
}

static int any_map_flags(struct area *a)
{
	static const int kinds[] = { MAP_PRIVATE, MAP_PRIVATE, MAP_PRIVATE, MAP_SHARED };
	int flags = kinds[random_below(&a->random, ARRAY_SIZE(kinds))];

	if (!random_below(&a->random, 4))
		flags |= MAP_NORESERVE;
	if (!random_below(&a->random, 4))
		flags |= MAP_POPULATE;
	return flags;
}

static void op_map(struct area *a)
{
	struct range r = any_range(a, LONGEST);
	int prot = any_prot(a), flags = any_map_flags(a);

	CHECK_EQ(do_map(a, r, prot, flags | MAP_FIXED), at(a, r.first));
	model_map(a, r, prot, flags);
	done(a, OP_map, false);
}

static void op_map_noreplace(struct area *a)
{
	struct range r = any_range(a, SHORT);
	int prot = any_prot(a), flags = any_map_flags(a);
	bool taken = count_mapped(a, r);

	CHECK_EQ(do_map(a, r, prot, flags | MAP_FIXED_NOREPLACE), taken ? -EEXIST : (long)at(a, r.first));
	if (!taken)
		model_map(a, r, prot, flags);
	done(a, OP_map_noreplace, taken);
}

// Without MAP_FIXED the address is where it goes if nothing is there, and otherwise it goes elsewhere.
static void op_map_hint(struct area *a)
{
	struct range r = any_range(a, SHORT);
	int prot = any_prot(a), flags = any_map_flags(a);
	bool taken = count_mapped(a, r);
	long where = do_map(a, r, prot, flags);

	CHECK(where > 0 && (where == (long)at(a, r.first)) == !taken);
	if (taken)
		CHECK_EQ(raw(SYS_munmap, where, r.n * PAGE), 0);
	else
		model_map(a, r, prot, flags);
	done(a, OP_map_hint, taken);
}

static void model_unmap(struct area *a, struct range r)
{
	for (int i = 0; i < r.n; i++)
		a->pages[r.first + i].mapped = false;
}

static void op_unmap(struct area *a)
{
	struct range r = any_range(a, SHORT);

	CHECK_EQ(raw(SYS_munmap, at(a, r.first), r.n * PAGE), 0);	// holes are none of its business
	model_unmap(a, r);
	done(a, OP_unmap, false);
}

// ---- Changing -------------------------------------------------------------------------------------------------------

// All before the first hole is protected.
static void op_protect(struct area *a)
{
	struct range r = any_range(a, SHORT);
	int prot = any_prot(a), i = 0;
	long result = raw(SYS_mprotect, at(a, r.first), r.n * PAGE, prot);
	uint64_t region = 0, before = 0;

	for (; i < r.n && a->pages[r.first + i].mapped; i++) {
		struct area_page *p = &a->pages[r.first + i];
		if (p->region != before)
			region = ++a->next_region;
		before = p->region;
		p->region = region;
		p->prot = prot;
	}
	// What lies behind it may have been split off.
	for (int j = r.first + i; before && j < AREA_PAGES && a->pages[j].mapped && a->pages[j].region == before; j++)
		a->pages[j].region = region + 1;
	a->next_region = region ? region + 1 : a->next_region;
	CHECK_EQ(result, i == r.n ? 0 : -ENOMEM);
	done(a, OP_protect, result);
}

// Some pages that are one mapping and reach its end; false: none were found.
static bool any_tail(struct area *a, struct range *r)
{
	int first = random_below(&a->random, AREA_PAGES), n = 1;
	const struct area_page *p = &a->pages[first];

	if (!p->mapped)
		return false;
	while (first + n < AREA_PAGES && p[n].mapped && p[n].region == p->region)
		n++;
	*r = (struct range){ first, n };
	return true;
}

static void op_shrink(struct area *a)
{
	struct range r;

	if (!any_tail(a, &r) || r.n < 2)
		return;
	int keep = 1 + random_below(&a->random, r.n - 1);
	CHECK_EQ(raw(SYS_mremap, at(a, r.first), r.n * PAGE, keep * PAGE, 0), at(a, r.first));
	model_unmap(a, (struct range){ r.first + keep, r.n - keep });
	done(a, OP_shrink, false);
}

// In place: only where nothing lies behind it. Not of a shared mapping, because what lies behind the end of the object is
// not memory but SIGBUS.
static void op_grow(struct area *a)
{
	struct range r;
	int more = 1 + random_below(&a->random, 6);

	if (!any_tail(a, &r) || r.first + r.n + more > AREA_PAGES || a->pages[r.first].shared)
		return;
	bool taken = count_mapped(a, (struct range){ r.first + r.n, more });
	long result = raw(SYS_mremap, at(a, r.first), r.n * PAGE, (r.n + more) * PAGE, 0);
	CHECK_EQ(result, taken ? -ENOMEM : (long)at(a, r.first));
	for (int i = 0; !taken && i < more; i++) {
		a->pages[r.first + r.n + i] = a->pages[r.first];
		a->pages[r.first + r.n + i].contents = ZERO;
		a->pages[r.first + r.n + i].resident = 0;
	}
	done(a, OP_grow, taken);
}

static void model_move(struct area *a, struct range from, int to, int n)
{
	struct area_page moved[AREA_PAGES];
	uint64_t region = ++a->next_region;

	for (int i = 0; i < n; i++) {
		moved[i] = a->pages[from.first + (i < from.n ? i : 0)];
		moved[i].region = region;
		if (i >= from.n) {
			moved[i].contents = ZERO;
			moved[i].resident = 0;
		}
	}
	model_unmap(a, from);
	memcpy(&a->pages[to], moved, n * sizeof(moved[0]));
}

// To a fixed place; whatever is there goes. The new size may be any.
static void op_move(struct area *a)
{
	struct range from;

	if (!any_tail(a, &from))
		return;
	int n = 1 + random_below(&a->random, from.n + 4);
	if (n > AREA_PAGES)
		return;
	if (a->pages[from.first].shared && n > from.n)
		n = from.n;
	int to = random_below(&a->random, AREA_PAGES - n + 1);
	bool overlap = to < from.first + from.n && from.first < to + n;
	long result = raw(SYS_mremap, at(a, from.first), from.n * PAGE, n * PAGE, REMAP_MAYMOVE | REMAP_FIXED, at(a, to));
	CHECK_EQ(result, overlap ? -EINVAL : (long)at(a, to));
	if (!overlap)
		model_move(a, from, to, n);
	done(a, OP_move, overlap);
}

// ---- Advice ---------------------------------------------------------------------------------------------------------

static void op_dontneed(struct area *a)
{
	struct range r = any_range(a, SHORT);
	long result = raw(SYS_madvise, at(a, r.first), r.n * PAGE, MADV_DONTNEED);

	for (int i = 0; i < r.n; i++) {
		struct area_page *p = &a->pages[r.first + i];
		if (p->shared)		// the mapping forgets its pages, the object keeps them
			continue;
		p->contents = ZERO;
		p->resident = 0;
	}
	CHECK_EQ(result, count_mapped(a, r) == r.n ? 0 : -ENOMEM);
	done(a, OP_dontneed, result);
}

// Shared memory ends it; holes are passed over and reported.
static void op_free(struct area *a)
{
	struct range r = any_range(a, SHORT);
	long result = raw(SYS_madvise, at(a, r.first), r.n * PAGE, ADVICE_FREE), want = 0;

	for (int i = 0; i < r.n && want != -EINVAL; i++) {
		struct area_page *p = &a->pages[r.first + i];
		if (!p->mapped)
			want = -ENOMEM;
		else if (p->shared)
			want = -EINVAL;
		else {
			p->contents = p->contents == ZERO ? ZERO : EITHER;
			p->resident = p->resident ? -1 : 0;
		}
	}
	CHECK_EQ(result, want);
	done(a, OP_free, result);
}

static void op_populate(struct area *a)
{
	struct range r = any_range(a, SHORT);
	bool write = random_below(&a->random, 2);
	int need = write ? PROT_WRITE : PROT_READ;
	long result = raw(SYS_madvise, at(a, r.first), r.n * PAGE, write ? ADVICE_POPULATE_WRITE : ADVICE_POPULATE_READ);
	long want = 0;

	for (int i = 0; i < r.n && !want; i++) {
		struct area_page *p = &a->pages[r.first + i];
		if (!p->mapped)
			want = -ENOMEM;
		else if (!(p->prot & need))
			want = -EINVAL;
		else if (p->contents != EITHER)
			p->resident = 1;
	}
	CHECK_EQ(result, want);
	done(a, OP_populate, result);
}

static void op_mincore(struct area *a)
{
	struct range r = any_range(a, SHORT);
	unsigned char in[SHORT];
	bool holes = count_mapped(a, r) != r.n;

	CHECK_EQ(raw(SYS_mincore, at(a, r.first), r.n * PAGE, in), holes ? -ENOMEM : 0);
	for (int i = 0; !holes && i < r.n; i++)
		if (a->pages[r.first + i].resident >= 0)
			CHECK_EQ(in[i] & 1, a->pages[r.first + i].resident);
	done(a, OP_mincore, holes);
}

// ---- Touching -------------------------------------------------------------------------------------------------------

// Was it the fault that an access to this page must be? False: there must be none, and there was none.
static bool check_fault(struct area *a, const struct area_page *p, int need, struct fault f, const void *where)
{
	bool allowed = p->mapped && p->prot & need;

	CHECK_EQ(f.signal, allowed ? 0 : SIGSEGV);
	if (allowed)
		return false;
	CHECK_EQ(f.code, p->mapped ? SEGV_ACCERR : SEGV_MAPERR);
	CHECK_EQ(f.addr, where);
	a->counts.maperr += !p->mapped;
	a->counts.accerr += p->mapped;
	return true;
}

static void check_contents(struct area_page *p, uint64_t value)
{
	if (p->contents == EITHER && value == 0)
		p->contents = ZERO;
	CHECK_EQ(value, p->contents == ZERO ? 0 : p->stamp);
}

// Of a page that MADV_FREE was about: a read does not tell whether it stays. So it counts neither for the sum.
static void read_page(struct area *a, int page)
{
	struct area_page *p = &a->pages[page];
	char *where = at(a, page);
	uint64_t first = 0, last = 0;
	bool certain = p->contents != EITHER;

	if (check_fault(a, p, PROT_READ, fault_read(where, &first), where))
		return;
	check_fault(a, p, PROT_READ, fault_read(where + LAST_WORD, &last), where + LAST_WORD);
	check_contents(p, first);
	if (p->contents != EITHER || last == 0)
		check_contents(p, last);
	if (!certain) {		// it may go between the two looks, and after them
		p->contents = p->contents == ZERO ? ZERO : EITHER;
		p->resident = -1;
		return;
	}
	p->resident = 1;
	a->counts.sum += first + last;
}

static void op_read(struct area *a)
{
	read_page(a, random_below(&a->random, AREA_PAGES));
	done(a, OP_read, false);
}

static void op_write(struct area *a)
{
	int page = random_below(&a->random, AREA_PAGES);
	struct area_page *p = &a->pages[page];
	uint64_t stamp = random_next(&a->random) | 1;
	char *where = at(a, page);

	done(a, OP_write, false);
	if (check_fault(a, p, PROT_WRITE, fault_write(where, stamp), where))
		return;
	check_fault(a, p, PROT_WRITE, fault_write(where + LAST_WORD, stamp), where + LAST_WORD);
	check_fault(a, p, PROT_WRITE, fault_write(where + CODE, RET), where + CODE);
	p->stamp = stamp;
	p->contents = STAMPED;
	p->resident = 1;
}

// Executes a page's RET; of a page that may be executed but has none, nothing.
static void op_call(struct area *a)
{
	int page = random_below(&a->random, AREA_PAGES);
	struct area_page *p = &a->pages[page];
	char *where = (char *)at(a, page) + CODE;

	if (p->mapped && p->prot & PROT_EXEC && p->contents != STAMPED)
		return;
	// Linux brings the page in before it finds that it may not be executed.
	if (check_fault(a, p, PROT_EXEC, fault_call(where), where) && p->prot != PROT_NONE && !p->resident)
		p->resident = -1;
	done(a, OP_call, false);
}

void area_check_all(struct area *a)
{
	for (int page = 0; page < AREA_PAGES; page++)
		read_page(a, page);
}

// ---- One step, and what is printed ----------------------------------------------------------------------------------

#define X(name) [OP_##name] = { #name, op_##name },
static const struct operation {
	const char *name;
	void (*function)(struct area *a);
} operations[] = { AREA_OPERATIONS(X) };
#undef X

// Half of all steps touch, and of the others some map, so that there is something to touch.
void area_step(struct area *a)
{
	uint64_t op = random_below(&a->random, OP_read);

	if (random_below(&a->random, 2))
		op = OP_read + random_below(&a->random, NR_OPERATIONS - OP_read);
	else if (!random_below(&a->random, 8))
		op = OP_map;
	operations[op].function(a);
}

void area_counts_add(struct area_counts *to, const struct area_counts *some)
{
	for (int i = 0; i < NR_OPERATIONS; i++) {
		to->done[i] += some->done[i];
		to->refused[i] += some->refused[i];
	}
	to->maperr += some->maperr;
	to->accerr += some->accerr;
	to->sum += some->sum;
}

void area_counts_say(const struct area_counts *c)
{
	for (int i = 0; i < NR_OPERATIONS; i++)
		say("%-13s %6llu, refused %llu", operations[i].name, (unsigned long long)c->done[i],
		    (unsigned long long)c->refused[i]);
	say("faults: %llu MAPERR, %llu ACCERR; sum of what was read: %016llx", (unsigned long long)c->maperr,
	    (unsigned long long)c->accerr, (unsigned long long)c->sum);
}
