// SPDX-License-Identifier: MIT
// Is the space what the model says? By its tables, by walks and by user accesses.
#pragma once
#include "tests/mm/model/model.h"

// EXPECTs that the space is what the model says: regions, every table and leaf, counts, what the pages hold.
void space_check(struct space *s, const struct model *m, bool walkers);
// One page, by a lockless walk, for reading and for writing, and by a user access that may not fault.
void space_check_page(struct space *s, const struct model *m, vaddr_t va);
void space_check_pin(const struct model *m, unsigned pin);
