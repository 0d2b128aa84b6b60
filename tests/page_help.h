// SPDX-License-Identifier: MIT
// What the suites of the allocators share: are as many frames free as before? Both may sleep.
#pragma once
#include "kernel/types.h"

u64 page_balance_start(void);		// free frames, once nothing is on its way back any more
bool page_balanced(u64 before);		// waits a while for it to come true
