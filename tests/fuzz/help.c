// SPDX-License-Identifier: MIT
// See fuzz.h.
#include <stdlib.h>
#include <string.h>
#include "kernel/panic.h"
#include "tests/fuzz/fuzz.h"

void *fuzz_exact(const void *data, size_t size)
{
	void *copy = malloc(size);

	if (!copy)
		abort();
	memcpy(copy, data, size);
	return copy;
}

void fuzz_failed(const char *file, int line, const char *what) { panic("%s:%d: not true: %s", file, line, what); }
