// SPDX-License-Identifier: MIT
// The processor's generator of random numbers (SDM vol. 1, 7.3.17): RDSEED, whose numbers are meant to be seeds, or
// RDRAND.
#include "arch/x86_64/cpuid.h"
#include <arch/machine.h>

// Either fails, with carry clear, while the generator has none at hand.
enum { TRIES = 10, TRIES_SEED = 100 };

static bool has_rdseed(void) { return cpuid_has_leaf(7) && cpuid(7).ebx >> 18 & 1; }
static bool has_rdrand(void) { return cpuid(1).ecx >> 30 & 1; }

static bool rdseed(u64 *v)
{
	bool ok = false;

	for (int i = 0; i < TRIES_SEED && !ok; i++)
		__asm__ volatile("rdseed %0" : "=r"(*v), "=@ccc"(ok));
	return ok;
}

static bool rdrand(u64 *v)
{
	bool ok = false;

	for (int i = 0; i < TRIES && !ok; i++)
		__asm__ volatile("rdrand %0" : "=r"(*v), "=@ccc"(ok));
	return ok;
}

// Some processors give all ones, with success, after a suspend (AMD family 15h and 16h; 17h by an early firmware): such
// a number is taken for none.
bool arch_random64(u64 *v)
{
	if (has_rdseed() && rdseed(v) && *v != ~0ull)
		return true;
	return has_rdrand() && rdrand(v) && *v != ~0ull;
}
