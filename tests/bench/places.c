// SPDX-License-Identifier: MIT
// See bench/places.h.
#include "tests/bench/places.h"
#include "tests/bench/load.h"

#define PLACES 0x600000000000ull
#define NR_GIB 32ull
#define TABLES_PER_GIB 511ull		// without that of the page that stays

bool places_init(struct places *p, struct space *s)
{
	*p = (struct places){ .space = s };
	for (u64 i = 0; i < NR_GIB; i++)
		if (map_patiently(s, PLACES + i * level_size(3), PAGE_SIZE, 1))
			return false;
	return true;
}

vaddr_t places_next(struct places *p)
{
	u64 turn = p->turn++ % (NR_GIB * TABLES_PER_GIB);

	return PLACES + turn / TABLES_PER_GIB * level_size(3) + (1 + turn % TABLES_PER_GIB) * level_size(2);
}
