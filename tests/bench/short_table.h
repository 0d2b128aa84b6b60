// SPDX-License-Identifier: MIT
// The table that mode=compare ends with, a row for each policy, for a reader who has only the screen of the machine
// itself. tools/table.py makes a fuller one from the BENCH and VERDICT lines of several boots. Threads only.
#pragma once
#include "mm/policy/policy.h"

#define SHORT_TABLE_COLUMNS 8
// The headings are kept, not copied; columns beyond the limit are dropped. Without memory nothing is kept, nor printed.
void short_table_begin(const char *const *headings, unsigned n);
// Columns count from 0. A cell that nobody sets is "-".
void short_table_set(const struct table_policy *p, unsigned column, const char *fmt, ...) __printf(3, 4);
void short_table_print(void);
