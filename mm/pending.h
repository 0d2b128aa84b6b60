// SPDX-License-Identifier: MIT
// Memory pressure: how many pages may be unlinked and not yet free at a time (pending_max=). One credit a page, taken
// before the page is unlinked and put back when it is FREE. As long as there are credits nobody waits for anything.
#pragma once
#include "kernel/types.h"

void pending_init(void);
bool pending_try(unsigned n);		// take n credits or none. Never waits; any context but NMI
// Take n (at most pending_max()) credits; without enough of them, hurry those who hold them up and sleep until they come.
// May sleep; a mutex may be held that no one needs in order to free.
void pending_take(unsigned n);
void pending_put(unsigned n);		// any context but NMI
s64 pending_in_use(void);		// credits that are out; a snapshot
u64 pending_max(void);
u64 pending_set_max(u64 pages);		// tests; returns the old one. May sleep
