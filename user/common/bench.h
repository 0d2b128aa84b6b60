// SPDX-License-Identifier: MIT
// A benchmark in several threads. Arguments: [-t] [rounds] [threads]; only with -t it prints times.
#pragma once
#include <stdint.h>

// One thread's work; the sum of what they return is printed, so it must not depend on luck.
typedef uint64_t bench_fn(unsigned int thread, long rounds);

int bench_main(int argc, char **argv, const char *what, bench_fn *work, long rounds, long threads);
