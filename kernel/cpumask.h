// SPDX-License-Identifier: MIT
// Sets of CPUs. The atomic forms are full barriers; the others are for masks that one CPU owns.
#pragma once
#include "kernel/atomic.h"

#define CPUMASK_WORDS (NR_CPUS / 64)
struct cpumask {
	u64 w[CPUMASK_WORDS];
};

static inline bool cpumask_test(const struct cpumask *m, unsigned cpu)
{
	return READ_ONCE(m->w[cpu / 64]) >> (cpu % 64) & 1;
}
// The same with acquire: what the CPU that changed the bit did before is visible.
static inline bool cpumask_test_acquire(const struct cpumask *m, unsigned cpu)
{
	return load_acquire(&m->w[cpu / 64]) >> (cpu % 64) & 1;
}
static inline void cpumask_set(struct cpumask *m, unsigned cpu) { m->w[cpu / 64] |= 1ull << (cpu % 64); }
static inline void cpumask_clear(struct cpumask *m, unsigned cpu) { m->w[cpu / 64] &= ~(1ull << (cpu % 64)); }
static inline void cpumask_set_atomic(struct cpumask *m, unsigned cpu) { fetch_or(&m->w[cpu / 64], 1ull << (cpu % 64)); }
static inline void cpumask_clear_atomic(struct cpumask *m, unsigned cpu)
{
	fetch_and(&m->w[cpu / 64], ~(1ull << (cpu % 64)));
}
static inline void cpumask_zero(struct cpumask *m) { *m = (struct cpumask){ 0 }; }
static inline void cpumask_copy(struct cpumask *to, const struct cpumask *from)	// word-wise snapshot of a shared mask
{
	for (int i = 0; i < CPUMASK_WORDS; i++)
		to->w[i] = READ_ONCE(from->w[i]);
}
static inline void cpumask_or(struct cpumask *to, const struct cpumask *from)
{
	for (int i = 0; i < CPUMASK_WORDS; i++)
		to->w[i] |= READ_ONCE(from->w[i]);
}
// If a bit is found clear, what the CPU that cleared it did before comes before what the caller does next.
static inline void cpumask_or_acquire(struct cpumask *to, const struct cpumask *from)
{
	for (int i = 0; i < CPUMASK_WORDS; i++)
		to->w[i] |= load_acquire(&from->w[i]);
}
static inline bool cpumask_empty(const struct cpumask *m)
{
	u64 any = 0;

	for (int i = 0; i < CPUMASK_WORDS; i++)
		any |= READ_ONCE(m->w[i]);
	return !any;
}
static inline unsigned cpumask_weight(const struct cpumask *m)
{
	unsigned n = 0;

	for (int i = 0; i < CPUMASK_WORDS; i++) {
		u64 w = READ_ONCE(m->w[i]);

		if (w)		// most are 0, and the builtin is a call
			n += (unsigned)__builtin_popcountll(w);
	}
	return n;
}
// The first member >= from, or NR_CPUS.
static inline unsigned cpumask_next(const struct cpumask *m, unsigned from)
{
	for (unsigned i = from / 64; i < CPUMASK_WORDS; i++) {
		u64 w = READ_ONCE(m->w[i]);

		if (i == from / 64)
			w &= ~0ull << (from % 64);
		if (w)
			return i * 64 + (unsigned)__builtin_ctzll(w);
	}
	return NR_CPUS;
}
#define for_each_cpu_in(cpu, mask) \
	for (unsigned cpu = cpumask_next((mask), 0); cpu < NR_CPUS; cpu = cpu + 1 < NR_CPUS ? cpumask_next((mask), cpu + 1) : NR_CPUS)

// CPUs are numbered 0 … nr_cpus-1 without holes; all of them are online once smp_start() has returned.
extern unsigned nr_cpus;
extern struct cpumask cpus_online;
#define for_each_cpu(cpu) for (unsigned cpu = 0; cpu < nr_cpus; cpu++)
