// SPDX-License-Identifier: MIT
// The order of what happens in an unmap, under each pair, read from the trace of a real one: unlinked, then flushed and
// acknowledged by every CPU, then quiesced as the policy promises, then freed. A kernel that leaves a step out is noticed.
#include "kernel/lib.h"
#include "lab/mutant.h"
#include "lab/oracle.h"
#include "lab/test.h"
#include "mm/table.h"
#include "tests/lab/trace/clock.h"
#include "tests/lab/trace/scene.h"
#include "tests/mm/help.h"

#define NEVER UINT64_MAX

// The first event of that kind (and argument, unless ANY) on that CPU (unless ANY) from `since` on; NEVER: there is none.
#define ANY UINT64_MAX
static u64 first(const struct trace_log *log, enum trace_event event, u64 cpu, u64 arg, u64 since)
{
	for (unsigned i = 0; i < log->n; i++) {
		const struct trace_record *e = &log->records[i];

		if (e->event == event && (cpu == ANY || e->cpu == cpu) && (arg == ANY || e->arg == arg) && e->cycles >= since)
			return e->cycles;
	}
	return NEVER;
}

static unsigned how_many(const struct trace_log *log, enum trace_event event, u64 arg)
{
	unsigned n = 0;

	for (unsigned i = 0; i < log->n; i++)
		n += log->records[i].event == event && (arg == ANY || log->records[i].arg == arg);
	return n;
}

// Is a rule broken? That is logged, unless a mutant is meant to break it.
static bool verbose;
#define RULE(holds, what) ({ \
	bool _holds = (holds); \
	if (!_holds && verbose) \
		log_error("%s with %s: %s", sc->policy, sc->flush, what); \
	!_holds; })

// Has that CPU dropped the entry between the flush's beginning and `end`?
static bool has_flushed(const struct trace_scene *sc, const struct trace_log *log, unsigned cpu, u64 begin, u64 end)
{
	if (!strcmp(sc->flush, "lazy"))
		return first(log, EV_SWEEP, cpu, ANY, begin) <= end;
	if (!strcmp(sc->flush, "nmi"))
		return first(log, EV_NMI_END, cpu, ANY, begin) <= end;
	if (strcmp(sc->flush, "ipi") && strcmp(sc->flush, "pv"))
		return true;		// not known what another back-end leaves in the trace
	return first(log, EV_IPI_ACKED, cpu, ANY, begin) <= end || first(log, EV_PV_FLAGGED, ANY, cpu, begin) <= end;
}

static bool waits_for_rcu(const struct trace_scene *sc) { return !strncmp(sc->policy, "rcu", 3); }

// Is there a grace period inside, in which each CPU was seen quiescent?
static bool grace_period_between(const struct trace_log *log, u64 begin, u64 end)
{
	u64 gp = first(log, EV_GP_BEGIN, ANY, ANY, begin), over = first(log, EV_GP_END, ANY, ANY, gp);

	if (over == NEVER || over > end)
		return false;
	for_each_cpu(cpu)
		if (first(log, EV_QUIESCENT, ANY, cpu, gp) > over)
			return false;
	return true;
}

// Walks of other CPUs that had begun before `unlinked` and go on after `quiesced`.
static unsigned walks_across(const struct trace_log *log, u64 unlinked, u64 quiesced)
{
	unsigned n = 0;

	for (unsigned i = 0; i < log->n; i++) {
		const struct trace_record *e = &log->records[i];

		n += e->event == EV_WALK_BEGIN && e->cycles < unlinked &&
		     first(log, EV_WALK_END, e->cpu, ANY, e->cycles) > quiesced;
	}
	return n;
}

static unsigned table_rules_broken(const struct trace_scene *sc, const struct trace_log *log, const struct trace_record *unlinked)
{
	u64 at = unlinked->cycles, table = unlinked->arg, cpu = unlinked->cpu;
	u64 flush = first(log, EV_FLUSH_BEGIN, cpu, ANY, at), flush_end = first(log, EV_FLUSH_END, cpu, ANY, flush);
	u64 flushed = first(log, EV_TABLE_FLUSHED, ANY, table, at), quiesced = first(log, EV_TABLE_QUIESCED, ANY, table, flushed);
	u64 freed = first(log, EV_TABLE_FREED, ANY, table, quiesced);
	// A flush may be left to the sweeps of other CPUs, which may complete it before this CPU goes on.
	bool deferred = flush_end != NEVER && first(log, EV_FLUSH_END, cpu, 1, flush) == flush_end;
	unsigned broken = 0;

	broken += RULE(flushed != NEVER && quiesced != NEVER && freed != NEVER, "a table is unlinked, but not flushed, quiesced, freed");
	broken += RULE(how_many(log, EV_TABLE_FREED, table) == how_many(log, EV_TABLE_UNLINKED, table), "a table is freed twice");
	broken += RULE((deferred ? flush : flush_end) <= flushed, "a table counts as flushed before the flush has ended");
	for_each_cpu_in(other, &log->company)
		broken += RULE(has_flushed(sc, log, other, flush, flushed), "a table counts as flushed before a CPU has answered");
	if (waits_for_rcu(sc))
		broken += RULE(grace_period_between(log, at, quiesced), "a table counts as quiescent without a grace period");
	// Not under `targeted` or `hazard`: there a walk that has begun and not published itself yet has read nothing.
	if (waits_for_rcu(sc) || !strcmp(sc->policy, "ipi"))
		broken += RULE(!walks_across(log, at, quiesced), "a table counts as quiescent while an older walk goes on");
	return broken;
}

static unsigned rules_broken(const struct trace_scene *sc, const struct trace_log *log)
{
	unsigned tables = how_many(log, EV_TABLE_UNLINKED, ANY), broken = 0;

	broken += RULE(!log->lost, "events are lost");
	broken += RULE(tables == (policy_find(sc->policy)->keeps ? 0 : PT_LEVELS - 1),
		       "not one table of each level was unlinked (or one was that is to be kept)");
	broken += RULE(how_many(log, EV_UNMAP_BEGIN, ANY) == 1 && how_many(log, EV_UNMAP_END, ANY) == 1, "not exactly one unmap");
	broken += RULE(how_many(log, EV_WALK_BEGIN, ANY) == how_many(log, EV_WALK_END, ANY), "a walk that does not end");
	for (unsigned i = 0; i < log->n; i++)
		if (log->records[i].event == EV_TABLE_UNLINKED)
			broken += table_rules_broken(sc, log, &log->records[i]);
	return broken;
}

static unsigned play(const struct trace_scene *sc)
{
	struct trace_log log;
	unsigned broken = 0;

	if (EXPECT(trace_scene_play(sc, &log)))
		broken = rules_broken(sc, &log);
	trace_log_drop(&log);
	return broken;
}

// Only if the clocks agree can events of two CPUs be put into one order.
TEST(trace, clocks_agree, NEEDS_CPUS2)
{
	struct clock_bounds worst;

	EXPECT(trace_clocks_agree(&worst));
	log_info("CPU %u is ahead by %lld to %lld cycles", worst.cpu, (long long)worst.least, (long long)worst.most);
}

TEST(trace, order_of_an_unmap, NEEDS_CPUS2)
{
	unsigned played = 0;
	struct trace_scene sc;

	verbose = true;
	for (unsigned i = 0; trace_scene_get(i, &sc); i++) {
		if (strcmp(sc.name, "unmap") || trace_scene_missing(&sc))
			continue;
		EXPECT_EQ(play(&sc), 0);
		played++;
	}
	EXPECT(played >= 6);
}

#if CHECK

#define CONVICTED(mutant, policy_, flush_) do { \
	static const struct trace_scene sc = { "unmap", policy_, flush_ }; \
	mutant_set(mutant, 1); \
	EXPECT(play(&sc) > 0); \
	mutant_set(mutant, 0); \
} while (0)

// The same rules with a step taken out: the order is wrong, whether or not there was a walker or a TLB to be harmed.
TEST(trace, order_is_wrong_without_a_step, NEEDS_CPUS2 | NEEDS_CHECK)
{
	verbose = false;
	oracle_expect_violations(true);
	CONVICTED(gather_no_flush, "rcu", "ipi");
	CONVICTED(gather_flush_last, "ipi", "ipi");
	CONVICTED(gather_flush_last, "rcu", "nmi");
	CONVICTED(batch_no_grace_period, "rcu", "ipi");
	CONVICTED(rcu_page_no_grace_period, "rcu-page", "ipi");
	oracle_expect_violations(false);
}
#endif
