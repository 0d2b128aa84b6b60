// SPDX-License-Identifier: MIT
// Random bytes for programs.
#pragma once
#include "kernel/types.h"

// Nobody who does not know the machine's state can tell them from chance, and what was given before cannot be computed
// from the state either, once the kernel's stack has been written over. Except where time counts instructions: then they
// follow from seed=, so that a run repeats. Thread context; may sleep. The first call on a processor without a generator of its own takes half a second.
void random_bytes(void *to, size_t n);
