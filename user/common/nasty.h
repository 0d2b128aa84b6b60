// SPDX-License-Identifier: MIT
// Arguments for system calls, by chance, such as kernels get wrong: addresses at all edges, lengths that wrap, numbers
// that are too large. The addresses that may be written to lie in an arena, which anybody may unmap, protect and
// overwrite; no argument names memory that the program itself needs, but for reading.
#pragma once
#include "user/common/random.h"
#include <stdbool.h>
#include <stdint.h>

#define ARENA_START 0x200000000000ul
enum { ARENA_PAGES = 256 };

void arena_map(void);
bool in_arena(uintptr_t start, uintptr_t length);

uint64_t nasty_number(struct random *r);
uintptr_t nasty_address(struct random *r);	// anything
uintptr_t bad_address(struct random *r);	// not to be read from, whatever is in the arena
uintptr_t arena_page(struct random *r);
uint64_t nasty_length(struct random *r);
uint64_t nasty(struct random *r);		// any of these
