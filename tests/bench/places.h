// SPDX-License-Identifier: MIT
// Addresses at which to map and unmap a page, one after the other, each with an L1 table of its own. A page in every
// GiB stays mapped and keeps the tables above. Each address is a new one, because under a back-end that defers flushes
// a map waits where the last unmap is not flushed yet.
#pragma once
#include "mm/space.h"

struct places {
	struct space *space;
	u64 turn;
};
bool places_init(struct places *p, struct space *s);	// false: no memory. From 0x600000000000 on
vaddr_t places_next(struct places *p);
