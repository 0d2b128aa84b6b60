// SPDX-License-Identifier: MIT
// See proc/script.h.
#include "tests/proc/script.h"
#include <arch/uaccess.h>

int script_load(vaddr_t start, const struct instruction *script, unsigned n)
{
	u8 code[SCRIPT_SIZE];
	int error = 0;

	for (unsigned i = 0; i < n && !error; i++) {
		script_encode(code, &script[i], SCRIPT_AT(start, i), start);
		error = copy_out(SCRIPT_AT(start, i), code, sizeof(code));
	}
	return error;
}
