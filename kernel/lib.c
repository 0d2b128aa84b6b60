// SPDX-License-Identifier: MIT
// Small algorithms without a home of their own.
#include "kernel/lib.h"

// One pattern, [p, end). On a mismatch go back to the last '*' and let it swallow one character more: linear space, no
// recursion, and only the last star ever needs to be tried again.
static bool glob_match_one(const char *p, const char *end, const char *s)
{
	const char *star = NULL, *star_s = NULL;

	while (*s) {
		if (p < end && *p == '*') {
			star = p++;
			star_s = s;
		} else if (p < end && (*p == '?' || *p == *s)) {
			p++;
			s++;
		} else if (star) {
			p = star + 1;
			s = ++star_s;
		} else {
			return false;
		}
	}
	while (p < end && *p == '*')
		p++;
	return p == end;
}

bool glob_match(const char *pattern, const char *s)
{
	for (;;) {
		const char *end = strchr(pattern, ',');

		if (!end)
			return glob_match_one(pattern, pattern + strlen(pattern), s);
		if (glob_match_one(pattern, end, s))
			return true;
		pattern = end + 1;
	}
}

static unsigned digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0');
	if (c >= 'a' && c <= 'f')
		return (unsigned)(c - 'a') + 10;
	if (c >= 'A' && c <= 'F')
		return (unsigned)(c - 'A') + 10;
	return ~0u;
}

bool parse_u64(const char *s, u64 *out)
{
	unsigned base = 10;
	u64 v = 0;

	if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) {
		base = 16;
		s += 2;
	}
	if (!*s)
		return false;
	for (; *s; s++) {
		unsigned d = digit_value(*s);

		if (d >= base || __builtin_mul_overflow(v, (u64)base, &v) || __builtin_add_overflow(v, (u64)d, &v))
			return false;
	}
	*out = v;
	return true;
}

u64 rand_next(u64 *state)
{
	u64 z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static void swap_items(u8 *a, u8 *b, size_t size)
{
	if (size == sizeof(u64)) {	// what the measurements sort, by the hundred thousand
		u64 t;

		memcpy(&t, a, sizeof(t));
		memcpy(a, b, sizeof(t));
		memcpy(b, &t, sizeof(t));
		return;
	}
	while (size--) {
		u8 t = *a;

		*a++ = *b;
		*b++ = t;
	}
}

// Restore the heap order (parent >= children) below `i` in a heap of n items.
static void sift_down(u8 *base, size_t i, size_t n, size_t size, int (*cmp)(const void *, const void *))
{
	for (size_t child; (child = 2 * i + 1) < n; i = child) {
		if (child + 1 < n && cmp(base + child * size, base + (child + 1) * size) < 0)
			child++;
		if (cmp(base + i * size, base + child * size) >= 0)
			return;
		swap_items(base + i * size, base + child * size, size);
	}
}

void ksort(void *base, size_t n, size_t size, int (*cmp)(const void *, const void *))
{
	for (size_t i = n / 2; i-- > 0;)
		sift_down(base, i, n, size, cmp);
	for (size_t end = n; end-- > 1;) {
		swap_items(base, (u8 *)base + end * size, size);
		sift_down(base, 0, end, size, cmp);
	}
}
