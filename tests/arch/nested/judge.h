// SPDX-License-Identifier: MIT
// What the files of the suite `nested` share: a real hypervisor preempts walkers in the middle of their walks, because it
// has fewer processors than this machine has vCPUs (SMP=4 under ACCEL=nested, xen and xen-domu: docs/nested.md,
// docs/xen.md). The load is that of mode=torture.
#pragma once
#include "lab/counter.h"
#include "lab/test.h"
#include "mm/flush/flush.h"

// Does the hypervisor mark CPUs that it preempts while they are busy in the kernel? Some mark only those that halt or
// run in user mode, and one that has a processor for each CPU preempts none.
bool nested_marks_busy_cpus(void);
#define NESTED_MARKS_NONE "the hypervisor marks no CPU that it preempts in the middle of its work"
#if CHECK
// What the load finds of each pair with that back-end must agree with the computed verdict: EXPECTs. `sum`: what the
// load of the safe ones has counted.
void nested_judge_all(const char *flush, bool safe, struct counters *sum);
#endif
// What one protect (it frees no table) and one unmap (it frees the table) count, while another CPU runs in the space.
struct counters nested_one_of_each(const char *flush);
