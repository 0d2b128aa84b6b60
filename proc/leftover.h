// SPDX-License-Identifier: MIT
// Does a program leave anything behind? Frames that hold a program's memory or its page tables, and processes.
#pragma once
#include "kernel/types.h"

// Such frames now, when nothing is deferred any more and no cache holds any. May sleep.
u64 leftover_frames(void);
