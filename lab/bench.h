// SPDX-License-Identifier: MIT
// Measurements. A benchmark is a set of cases (policy × flush × how many others …) that are measured in turn, in short
// slices, so that a change in the machine's speed affects all of them alike. Each case ends as one BENCH {json} line
// and, behind it, one HIST {json} line with its whole distribution (docs/reference.md).
#pragma once
#include "kernel/time.h"
#include "lab/counter.h"
#include "lab/hist.h"
#include "lab/majority.h"
#include "mm/policy/policy.h"

#define BENCH_EXTRAS 12
struct bench_case {
	const char *name;		// BENCH name
	const struct table_policy *policy;	// NULL: the case concerns none
	const struct flush_backend *flush;
	unsigned others;		// other CPUs running in the space
	unsigned walkers;		// threads that walk meanwhile
	unsigned pages;			// per operation
	bool remote;			// walks of a space that is not loaded
	unsigned stolen_us;		// another CPU was preempted, for so long at least
	const char *unit;		// NULL: cycles
	void (*slice)(struct bench_case *c);	// NULL: the one given to bench_interleave

	struct {
		const char *key;	// NULL: no more
		u64 value;
	} extra[BENCH_EXTRAS];		// what only this measurement has, for its BENCH line

	struct hist *hist;		// the samples
	struct majority usual;		// the value of more than half of them, if there is one
	u32 limit;			// enough samples; 0: as many as the time allows
	u64 ops;			// operations in all slices (counters are divided by it)
	u64 busy_ns;			// time that the operations took, deferred work included; 0: not measured
	struct counters used;		// in all slices
	struct counters before;		// at the beginning of the counted part of this slice
	bool counting;
};

struct bench {
	const char *name;
	void (*run)(u64 budget_ns);	// measure and report all its cases within about that time
	unsigned weight;		// share of the whole run's time
};
// BENCHMARK(name, weight) { … } — `budget_ns` is the parameter.
#define BENCHMARK(n, w) \
	static void bench_##n(u64 budget_ns); \
	static const struct bench b_##n = { .name = #n, .run = bench_##n, .weight = (w) }; \
	REGISTER(benches, b_##n); \
	static void bench_##n(u64 budget_ns)

bool bench_case_init(struct bench_case *c);	// memory for its histogram; false: none left (logged)
// Measure the cases in turn: slice(c) makes its preparations, then runs operations and records samples for about
// BENCH_SLICE_NS or until bench_full(c). Each case runs one slice that is thrown away (warm-up), then rounds follow, at
// least one, until the budget is used up. If the warm-up has used it up, the warm-up is the measurement. Counters are
// summed up around each slice, or between two marks in it; what a slice defers must be done before the next slice
// begins (rcu_barrier at its end).
#define BENCH_SLICE_NS (5 * NSEC_PER_MSEC)
void bench_interleave(struct bench_case *cases, unsigned n, u64 budget_ns, void (*slice)(struct bench_case *c));
void bench_count_from_here(struct bench_case *c);	// in a slice: what came before is preparation, not counted
void bench_count_to_here(struct bench_case *c);		// … what follows is not counted either
void bench_report(struct bench_case *c);	// the BENCH and HIST lines; frees the histogram
extern void (*bench_reported)(const struct bench_case *c);	// called after each case's lines, or NULL
void bench_discard(struct bench_case *c);	// frees the histogram, reports nothing
void bench_extra(struct bench_case *c, const char *key, u64 value);	// one more number for its BENCH line
void bench_reset(struct bench_case *c);		// as if nothing had been recorded
// Add a case for each policy × flush back-end that this machine has, for unsafe pairs only if the command line allows
// them. Each is a copy of `base` with these two filled in. Returns how many were added.
unsigned bench_add_pairs(struct bench_case *cases, unsigned max, const struct bench_case *base);
unsigned bench_add_policies(struct bench_case *cases, unsigned max, const struct bench_case *base);	// under the default flush
unsigned bench_policies(void);			// how many those are at most
// Each policy under the default back-end, and each back-end under the default policy.
unsigned bench_add_cross(struct bench_case *cases, unsigned max, const struct bench_case *base);
unsigned bench_pairs(void);			// policies × back-ends: how many bench_add_pairs() adds at most
// Which of the pairs are measured. CROSS: all policies under the default back-end and all back-ends under the default
// policy, for measurements in which the other pairs would show nothing new and only cost time.
enum bench_axes { BENCH_PAIRS, BENCH_CROSS, BENCH_POLICIES };
// All cases: bases × axes × numbers of others, interleaved; then their lines.
// `common`, unless NULL, is measured in turn with them: a case that concerns no pair, to compare the others with.
void bench_run_matrix_beside(const struct bench_case *common, const struct bench_case *bases, unsigned nr_bases,
			     enum bench_axes axes, const unsigned *others, unsigned n_others, u64 budget_ns);
static inline void bench_run_matrix(const struct bench_case *bases, unsigned nr_bases, enum bench_axes axes,
				    const unsigned *others, unsigned n_others, u64 budget_ns)
{
	bench_run_matrix_beside(NULL, bases, nr_bases, axes, others, n_others, budget_ns);
}

static inline bool bench_full(const struct bench_case *c) { return c->hist->n >= c->limit; }
// One operation took so many cycles by two readings of cycles(); the clock's own cost is subtracted.
void bench_record(struct bench_case *c, u64 cycles);
// The same for a batch of operations timed together.
void bench_record_batch(struct bench_case *c, u64 cycles, unsigned batch);
void bench_record_raw(struct bench_case *c, u64 value);	// another unit
u64 bench_clock_cost(void);			// cycles between two readings; measured once

int bench_run_all(const char *glob, u64 total_ns);	// number run, -1 if none matched
