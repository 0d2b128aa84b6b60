// SPDX-License-Identifier: MIT
// mode=trace: play the scenes that trace= names and print what was recorded, one TRACE {json} line an event
// (docs/reference.md).
#include "kernel/cmdline.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/mode.h"
#include "kernel/panic.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "lab/header.h"
#include "tests/lab/trace/clock.h"
#include "tests/lab/trace/scene.h"

#define SECONDS 10u		// for all scenes, by default
#define TAKES_MAX 50

static void print_log(const struct trace_scene *sc, const struct trace_log *log)
{
	for (unsigned i = 0; i < log->n; i++) {
		const struct trace_record *e = &log->records[i];

		kprintf("TRACE {\"v\":1,\"scene\":\"%s\",\"table_free\":\"%s\",\"tlb_flush\":\"%s\",\"cpu\":%u,\"ns\":%llu,\"event\":\"%s\","
			"\"ph\":\"%c\",\"arg\":%llu}\n", sc->name, sc->policy, sc->flush, e->cpu,
			(unsigned long long)arch_cycles_to_ns(e->cycles - log->records[0].cycles), trace_name(e->event),
			trace_phase(e->event), (unsigned long long)e->arg);
	}
}

// The first take is a warm-up. Of the others the shortest is kept: the one that the machine's other work has disturbed
// least. A take that has lost events does not count, because it would show ends without beginnings.
static unsigned takes(const struct trace_scene *sc, u64 budget_ns, struct trace_log *best)
{
	u64 end = now_ns() + budget_ns;
	struct trace_log log;
	unsigned n = 0;

	for (*best = (struct trace_log){ 0 }; !best->records || (n < TAKES_MAX && now_ns() < end); n++) {
		if (!trace_scene_play(sc, &log) || (n && log.lost)) {
			log_error("scene %s: %llu events lost, or no memory", sc->name, (unsigned long long)log.lost);
			trace_log_drop(&log);
			break;
		}
		if (n && (!best->records || log.cycles < best->cycles)) {
			trace_log_drop(best);
			*best = log;
		} else {
			trace_log_drop(&log);
		}
	}
	return n;
}

static int play(const struct trace_scene *sc, u64 budget_ns)
{
	struct trace_log best;
	unsigned n = takes(sc, budget_ns, &best);

	if (!best.records)
		return EXIT_INCONCLUSIVE;
	log_info("scene %s, table_free=%s tlb_flush=%s: %u events in %llu us, the shortest of %u takes", sc->name, sc->policy,
		 sc->flush, best.n, (unsigned long long)arch_cycles_to_ns(best.cycles) / NSEC_PER_USEC, n - 1);
	print_log(sc, &best);
	trace_log_drop(&best);
	return EXIT_OK;
}

// "unmap", or "unmap.rcu.nmi" for one pair.
static bool selected(const struct trace_scene *sc)
{
	const char *glob = *opt_trace ? opt_trace : "*";
	char name[64];

	ksnprintf(name, sizeof(name), "%s.%s.%s", sc->name, sc->policy, sc->flush);
	return glob_match(glob, sc->name) || glob_match(glob, name);
}

static void compare_clocks(void)
{
	struct clock_bounds worst;

	if (trace_clocks_agree(&worst))
		log_info("the clocks of all CPUs agree as far as can be seen: within %llu ns",
			 (unsigned long long)arch_cycles_to_ns((u64)(worst.most - worst.least)));
	else
		log_warn("the clock of CPU %u is off by %lld to %lld cycles: times of different CPUs cannot be compared",
			 worst.cpu, (long long)worst.least, (long long)worst.most);
}

static int trace_mode(void)
{
	u64 budget_ns = mode_seconds(SECONDS) * NSEC_PER_SEC / trace_scene_count();
	unsigned played = 0, named = 0;
	int status = EXIT_OK, err;
	struct trace_scene sc;

	thread_pin_here();
	header_print();
	compare_clocks();
	for (unsigned i = 0; trace_scene_get(i, &sc); i++) {
		const char *missing = trace_scene_missing(&sc);

		if (!selected(&sc))
			continue;
		named++;
		if (missing) {
			log_info("scene %s, table_free=%s tlb_flush=%s is not played: %s", sc.name, sc.policy, sc.flush, missing);
			continue;
		}
		err = play(&sc, budget_ns);
		status = err ?: status;
		played++;
	}
	if (named)
		return played ? status : EXIT_INCONCLUSIVE;
	log_error("trace=%s matches no scene; valid are names, and name.table_free.tlb_flush:", opt_trace);
	for (unsigned i = 0; trace_scene_get(i, &sc); i++)
		log_error("  trace=%s.%s.%s", sc.name, sc.policy, sc.flush);
	return EXIT_BAD_INPUT;
}
MODE(trace, trace_mode);
