// SPDX-License-Identifier: MIT
// Addresses to map and unmap a page at, one after the other, each with an L1 table of its own: a page in every GiB stays,
// so that the tables above do. To map where the page before was would be to wait under a back-end that defers flushes.
#pragma once
#include "mm/space.h"

struct places {
	struct space *space;
	u64 turn;
};
bool places_init(struct places *p, struct space *s);	// false: no memory. From 0x600000000000 on
vaddr_t places_next(struct places *p);
