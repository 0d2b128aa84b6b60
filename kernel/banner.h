// SPDX-License-Identifier: MIT
// The first line of every run: what runs where (docs/reference.md; scripts parse it).
#pragma once
#include "kernel/types.h"

// The line, terminated and with its newline. Before the platform is known its facts read "unknown".
const char *banner(char *buf, size_t size, bool platform_known);
