// SPDX-License-Identifier: MIT
// A scene of the suite `history` that shows what a step is for (history/flushes.c).
#pragma once
#include "kernel/types.h"

#if CHECK
// EXPECTs that `play`, which returns how many violations were reported, returns 0 with the step and more without it.
// Nothing is in the adversary's caches but what `play` primes.
void intact_and_mutated(const char *mutant, u64 (*play)(void));
#endif
