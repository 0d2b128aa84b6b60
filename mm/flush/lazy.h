// SPDX-License-Identifier: MIT
// Deferred flushes (tlb_flush=lazy, flush/lazy.c): what an unmap or an exit has collected waits until every CPU
// concerned has swept. The core knows them by flush.h alone.
#pragma once
#include "kernel/types.h"

u64 deferred_held(void);		// pages that wait for sweeps
