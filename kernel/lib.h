// SPDX-License-Identifier: MIT
// What a C library would provide, and a little more.
#pragma once
#include "kernel/printf.h"
#include "kernel/string.h"

// Shell-like match: '*' any run, '?' any one character; a list of patterns is separated by ','.
bool glob_match(const char *pattern, const char *s);
// Decimal or 0x hexadecimal, whole string; false on anything else or overflow.
bool parse_u64(const char *s, u64 *out);
// A small seeded generator (splitmix64 step): advances *state, returns 64 random bits.
u64 rand_next(u64 *state);
// Sort n items of `size` bytes in place (heap sort: no recursion, no memory).
void ksort(void *base, size_t n, size_t size, int (*cmp)(const void *, const void *));
