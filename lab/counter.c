// SPDX-License-Identifier: MIT
// Sums and differences of the event counters. The struct is u64 throughout, so that it can be treated as an array.
#include "lab/counter.h"
#include "kernel/cpumask.h"
#include "kernel/log.h"

DEFINE_PER_CPU(struct counters, counters);

#define NR_COUNTERS (sizeof(struct counters) / sizeof(u64))

static const char *const counter_names[] = {
#define X(name) #name,
	COUNTERS(X)
#undef X
};
_Static_assert(ARRAY_SIZE(counter_names) == NR_COUNTERS, "one u64 per counter");

void counters_snapshot(struct counters *sum)
{
	u64 *s = (u64 *)sum;

	*sum = (struct counters){ 0 };
	for_each_cpu(cpu) {
		u64 *c = (u64 *)per_cpu_ptr(&counters, cpu);

		for (size_t i = 0; i < NR_COUNTERS; i++)
			s[i] += READ_ONCE(c[i]);
	}
}

void counters_sub(struct counters *d, const struct counters *a, const struct counters *b)
{
	for (size_t i = 0; i < NR_COUNTERS; i++)
		((u64 *)d)[i] = ((const u64 *)a)[i] - ((const u64 *)b)[i];
}

void counters_print(const struct counters *c)
{
	for (size_t i = 0; i < NR_COUNTERS; i++)
		if (((const u64 *)c)[i])
			log_info("%-20s %llu", counter_names[i], (unsigned long long)((const u64 *)c)[i]);
}
