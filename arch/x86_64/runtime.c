// SPDX-License-Identifier: MIT
// What the compiler calls for operations that the baseline instruction set lacks (libgcc is not linked).
#include "kernel/types.h"

int __popcountdi2(u64 v);
int __popcountdi2(u64 v)
{
	v -= v >> 1 & 0x5555555555555555;
	v = (v & 0x3333333333333333) + (v >> 2 & 0x3333333333333333);
	v = (v + (v >> 4)) & 0x0f0f0f0f0f0f0f0f;
	return (int)(v * 0x0101010101010101 >> 56);
}
