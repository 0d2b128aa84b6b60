// SPDX-License-Identifier: MIT
// The scenes: see trace/scene.h. While one is recorded other CPUs run in the space and walk a page of it that stays,
// now and then. Nothing is under way when the recording begins and when it ends, so that what begins in it also ends.
#include "tests/lab/trace/scene.h"
#include "kernel/lib.h"
#include "kernel/panic.h"
#include "kernel/rcu/internal.h"
#include "lab/test.h"
#include "lab/thief.h"
#include "mm/policy/switch.h"
#include "mm/table.h"
#include "mm/walk.h"
#include "tests/mm/help.h"

#define WALKED 0x400000000000ull	// below another table of level 3 than GOES
#define GOES 0x500000000000ull
#define COMPANY_MAX 3
#define SWITCH_TO "rcu-page"
#define STOLEN_NS (3 * NSEC_PER_MSEC)

static const struct trace_scene of_some[] = {
	{ "unmap", "ipi", "lazy" },
	{ "unmap", "targeted", "nmi" },
	{ "unmap_robbed", "rcu", "ipi" },
	{ "unmap_robbed", "ipi", "ipi" },
	{ "unmap_robbed", "rcu", "pv" },
	{ "unmap_robbed", "targeted", "pv" },
	{ "unmap_robbed", "hazard", "pv" },
	{ "grace_period", "rcu", "ipi" },
	{ "expedited", "rcu", "ipi" },
	{ "switch", "ipi", "ipi" },
};

bool trace_scene_get(unsigned i, struct trace_scene *scene)
{
	*scene = (struct trace_scene){ "unmap", "rcu", "ipi" };
	FOR_EACH_POLICY(p) {
		scene->policy = (*p)->name;
		if (!i--)
			return true;
	}
	scene->policy = "rcu";
	FOR_EACH_BACKEND(b) {
		scene->flush = (*b)->name;
		if (strcmp(scene->flush, "ipi") && !i--)
			return true;
	}
	if (i < ARRAY_SIZE(of_some))
		*scene = of_some[i];
	return i < ARRAY_SIZE(of_some);
}

unsigned trace_scene_count(void)
{
	struct trace_scene scene;
	unsigned n = 0;

	while (trace_scene_get(n, &scene))
		n++;
	return n;
}

const char *trace_scene_missing(const struct trace_scene *sc)
{
	const struct flush_backend *b = flush_find(sc->flush);

	if (nr_cpus < 2)
		return "needs 2 CPUs";
	if (flush_missing(b))
		return flush_missing(b);
	if (!pair_verdict(policy_find(sc->policy), b).safe && !allow_unsafe())
		return "an unsafe pair: allow_unsafe=1";
	if (!strcmp(sc->name, "unmap_robbed") && !thief_works())
		return "the thief does not own the steal-time records";
	return NULL;
}

// ---- Company --------------------------------------------------------------------------------------------------------

struct company {
	struct space *space;
	struct thread *threads[COMPANY_MAX];
	u32 n, there, go, stop;
};

// Walks, with a pause that is a little longer each time, so that a long scene fits into the trace.
static int accompany(void *arg)
{
	struct company *c = arg;
	struct page *page;

	space_attach(c->space);
	fetch_add(&c->there, 1);
	spin_until(load_acquire(&c->go) || READ_ONCE(c->stop), "the scene's beginning", -1);
	for (u64 i = 0; !READ_ONCE(c->stop); i++) {
		u64 until = now_ns() + (i * i / 64) * NSEC_PER_USEC;

		if (walk_pin_fast(c->space, WALKED, 1, false, &page))
			page_unpin(page, false);
		while (now_ns() < until && !READ_ONCE(c->stop))
			cpu_relax();
	}
	space_detach();
	return 0;
}

static void company_leave(struct company *c)
{
	WRITE_ONCE(c->stop, 1);
	while (c->n)
		thread_join(c->threads[--c->n]);
}

static bool company_arrive(struct company *c)
{
	for (unsigned most = MIN(nr_cpus - 1, (unsigned)COMPANY_MAX); c->n < most; c->n++) {
		c->threads[c->n] = thread_create("company", accompany, c, mm_other_cpu(c->n), PRIO_NORMAL);
		if (!c->threads[c->n]) {
			company_leave(c);
			return false;
		}
	}
	return EVENTUALLY(READ_ONCE(c->there) == c->n);
}

// ---- What happens ---------------------------------------------------------------------------------------------------

static void unmap_robbed(struct space *s)
{
	unsigned cpu = mm_other_cpu(0);
	u64 stolen = thief_stolen_ns(cpu);

	thief_rob(cpu, STOLEN_NS);
	spin_until(thief_robs(cpu) || thief_stolen_ns(cpu) != stolen, "the thief", cpu);
	space_unmap(s, GOES, PAGE_SIZE);
	thief_wait_back(cpu);
}

static void act(const struct trace_scene *sc, struct space *s)
{
	if (!strcmp(sc->name, "unmap"))
		space_unmap(s, GOES, PAGE_SIZE);
	else if (!strcmp(sc->name, "unmap_robbed"))
		unmap_robbed(s);
	else if (!strcmp(sc->name, "grace_period"))
		synchronize_rcu();
	else if (!strcmp(sc->name, "expedited"))
		synchronize_rcu_expedited();
	else if (!strcmp(sc->name, "switch"))
		space_switch_pair(s, policy_find(SWITCH_TO), flush_find(sc->flush));
	else
		panic("trace scene %s", sc->name);
}

// No grace period runs, and nothing waits for one: so none will begin by itself.
static bool quiet(void)
{
	u64 seq = READ_ONCE(rcu.seq);

	return !tables_waiting() && !rcu_pending_callbacks() && !rcu_seq_running(seq) &&
	       READ_ONCE(rcu.requested) <= rcu_seq_completed(seq);
}

static bool record(const struct trace_scene *sc, struct space *s, struct company *c)
{
	bool calm;

	rcu_barrier();
	if (!EVENTUALLY(quiet()) || !trace_start())
		return false;
	store_release(&c->go, 1u);
	act(sc, s);
	calm = EVENTUALLY(quiet());
	company_leave(c);
	calm = EVENTUALLY(quiet()) && calm;
	trace_stop();
	return calm;
}

// ---- The log --------------------------------------------------------------------------------------------------------

static int by_time(const void *a, const void *b)
{
	const struct trace_record *x = a, *y = b;

	if (x->cycles != y->cycles)
		return x->cycles < y->cycles ? -1 : 1;
	if (x->cpu != y->cpu)
		return x->cpu < y->cpu ? -1 : 1;
	return x->n < y->n ? -1 : x->n > y->n;
}

static u64 length(const struct trace_log *log)
{
	u64 first = 0, last = 0;

	for (unsigned i = 0; i < log->n; i++) {
		const struct trace_record *e = &log->records[i];

		if (e->event == EV_WALK_BEGIN || e->event == EV_WALK_END)
			continue;
		first = first ?: e->cycles;
		last = e->cycles;
	}
	return last - first;
}

static bool take(struct trace_log *log)
{
	u64 room = 0, written = 0;
	struct page *block;
	unsigned order = 0;

	for_each_cpu(cpu) {
		written += trace_written(cpu);
		room += MIN(trace_written(cpu), (u64)TRACE_RECORDS);
	}
	while (PAGE_SIZE << order < room * sizeof(struct trace_record))
		order++;
	block = page_alloc(order, PAGE_KERNEL, PG_NOFAIL_INJECT);
	if (!block)
		return false;
	log->records = page_to_virt(block);
	for_each_cpu(cpu)
		log->n += trace_read(cpu, log->records + log->n);
	log->lost = written - log->n;
	ksort(log->records, log->n, sizeof(*log->records), by_time);
	log->cycles = length(log);
	return true;
}

void trace_log_drop(struct trace_log *log)
{
	if (log->records)
		page_put(virt_to_page(log->records));
	*log = (struct trace_log){ 0 };
}

bool trace_scene_play(const struct trace_scene *sc, struct trace_log *log)
{
	struct space *s = space_create_with(policy_find(sc->policy), flush_find(sc->flush));
	struct company c = { .space = s };
	bool ok;

	*log = (struct trace_log){ 0 };
	if (!s)
		return false;
	ok = !space_map(s, WALKED, PAGE_SIZE, PROT_R | PROT_W, 1, MAP_POPULATE) &&
	     !space_map(s, GOES, PAGE_SIZE, PROT_R | PROT_W, 1, MAP_POPULATE) && company_arrive(&c);
	for (unsigned i = 0; i < c.n; i++)
		cpumask_set(&log->company, mm_other_cpu(i));
	if (ok) {
		space_attach(s);
		ok = record(sc, s, &c);
		space_detach();
	}
	company_leave(&c);
	space_put(s);
	return ok && take(log);
}
