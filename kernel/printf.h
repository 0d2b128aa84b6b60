// SPDX-License-Identifier: MIT
// Formatting.
#pragma once
#include "kernel/types.h"

// printf subset: %d %i %u %x %X %o %c %s %p %% with l/ll/z/h, width, precision, '-', '0', '+'. Returns the length of
// the whole text, even if it was cut off; always terminates when size > 0. Any context.
int kvsnprintf(char *buf, size_t size, const char *fmt, va_list ap);
int ksnprintf(char *buf, size_t size, const char *fmt, ...) __printf(3, 4);
