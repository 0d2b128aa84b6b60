// SPDX-License-Identifier: MIT
// Short scenes that are recorded (lab/trace.h): one unmap, one grace period, one switch, with other CPUs in the space.
#pragma once
#include "kernel/cpumask.h"
#include "lab/trace.h"
#include "mm/policy/policy.h"

struct trace_scene {
	const char *name;
	const char *policy, *flush;	// of the space
};
// The i-th of all scenes: an unmap under each policy and with each back-end, then what only some pairs play. False: there
// are not so many.
bool trace_scene_get(unsigned i, struct trace_scene *scene);
unsigned trace_scene_count(void);

// What was recorded on all CPUs, in order of time.
struct trace_log {
	struct trace_record *records;	// NULL: nothing
	unsigned n;
	u64 lost;		// overwritten or dropped
	u64 cycles;		// from its first event to its last, walks not counted
	struct cpumask company;	// CPUs that had the space loaded, the unmapper's not among them
};

// Why it cannot be played on this machine; NULL: it can.
const char *trace_scene_missing(const struct trace_scene *s);
// Play and record it, on the calling thread's CPU and up to three others. False: no memory. The log is dropped by
// trace_log_drop().
bool trace_scene_play(const struct trace_scene *s, struct trace_log *log);
void trace_log_drop(struct trace_log *log);
