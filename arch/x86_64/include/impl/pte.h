// SPDX-License-Identifier: MIT
// Where the direct map begins: the first address of the kernel's half.
#pragma once

#define DIRECT_MAP_BASE 0xffff800000000000ull
