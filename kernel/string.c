// SPDX-License-Identifier: MIT
// mem* and str* for the freestanding kernel; the host build has libc's. GCC would turn these loops into calls of the
// very functions that they define, hence the pragma.
#pragma GCC optimize("no-tree-loop-distribute-patterns")
#include "kernel/string.h"

#define WORD sizeof(u64)
typedef u64 __attribute__((may_alias, aligned(1))) word;	// x86 needs no alignment

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
	u8 *d = to;
	const u8 *s = from;

	for (; n >= 4 * WORD; n -= 4 * WORD, d += 4 * WORD, s += 4 * WORD) {
		const word *from4 = (const word *)s;
		u64 w0 = from4[0], w1 = from4[1], w2 = from4[2], w3 = from4[3];

		((word *)d)[0] = w0;
		((word *)d)[1] = w1;
		((word *)d)[2] = w2;
		((word *)d)[3] = w3;
	}
	for (; n >= WORD; n -= WORD, d += WORD, s += WORD)
		*(word *)d = *(const word *)s;
	while (n--)
		*d++ = *s++;
	return to;
}

void *memmove(void *to, const void *from, size_t n)
{
	u8 *d = to;
	const u8 *s = from;

	// Forward copying is right unless the destination begins inside the source; one word is read before it is
	// written.
	if ((uintptr_t)d - (uintptr_t)s >= n)
		return memcpy(to, from, n);
	for (d += n, s += n; n >= WORD; n -= WORD) {
		d -= WORD;
		s -= WORD;
		*(word *)d = *(const word *)s;
	}
	while (n--)
		*--d = *--s;
	return to;
}

void *memset(void *to, int c, size_t n)
{
	u64 pattern = (u8)c * 0x0101010101010101ull;
	u8 *d = to;

	for (; n >= 16 * WORD; n -= 16 * WORD, d += 16 * WORD)
#pragma GCC unroll 16
		for (int i = 0; i < 16; i++)
			((word *)d)[i] = pattern;
	for (; n >= WORD; n -= WORD, d += WORD)
		*(word *)d = pattern;
	while (n--)
		*d++ = (u8)c;
	return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const u8 *p = a, *q = b;

	for (; n; n--, p++, q++)
		if (*p != *q)
			return *p - *q;
	return 0;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

size_t strnlen(const char *s, size_t max)
{
	size_t n = 0;

	while (n < max && s[n])
		n++;
	return n;
}

int strcmp(const char *a, const char *b)
{
	for (; *a && *a == *b; a++, b++)
		;
	return (u8)*a - (u8)*b;
}

int strncmp(const char *a, const char *b, size_t n)
{
	for (; n && *a && *a == *b; a++, b++, n--)
		;
	return n ? (u8)*a - (u8)*b : 0;
}

char *strchr(const char *s, int c)
{
	for (; *s != (char)c; s++)
		if (!*s)
			return NULL;
	return (char *)s;
}
