// SPDX-License-Identifier: MIT
// See tests/help.h.
#include "tests/help.h"
#include "kernel/lib.h"

bool contains(const char *text, const char *part)
{
	for (size_t n = strlen(part); *text; text++)
		if (!strncmp(text, part, n))
			return true;
	return false;
}

int compare_u64(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}
