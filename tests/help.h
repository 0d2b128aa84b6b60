// SPDX-License-Identifier: MIT
// What suites of several folders share.
#pragma once
#include "kernel/types.h"

bool contains(const char *text, const char *part);
int compare_u64(const void *a, const void *b);		// for ksort()
