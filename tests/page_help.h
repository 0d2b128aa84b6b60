// SPDX-License-Identifier: MIT
// What the suites of the allocators share: are as many frames free as before? Both may sleep.
#pragma once
#include "kernel/types.h"

u64 page_balance_start(void);		// free frames when nothing is on its way back any more
bool page_balanced(u64 before);		// when all threads that have ended have given their memory back
