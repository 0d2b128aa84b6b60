// SPDX-License-Identifier: MIT
// Strings, memory and formatting for a freestanding kernel. On the host mem*/str* come from libc.
#pragma once
#include "kernel/types.h"

void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
size_t strnlen(const char *s, size_t max);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *strchr(const char *s, int c);

// Shell-like match: '*' any run, '?' any one character; a list of patterns is separated by ','.
bool glob_match(const char *pattern, const char *s);
// Decimal or 0x hexadecimal, whole string; false on anything else or overflow.
bool parse_u64(const char *s, u64 *out);
// printf subset: %d %i %u %x %X %o %c %s %p %% with l/ll/z/h, width, precision, '-', '0', '+'. Returns the length
// that was wanted; always terminates when size > 0. Any context.
int kvsnprintf(char *buf, size_t size, const char *fmt, va_list ap);
int ksnprintf(char *buf, size_t size, const char *fmt, ...) __printf(3, 4);
// A small seeded generator (splitmix64 step): advances *state, returns 64 random bits.
u64 rand_next(u64 *state);
// Sort n items of `size` bytes in place (heap sort: no recursion, no memory).
void ksort(void *base, size_t n, size_t size, int (*cmp)(const void *, const void *));
