// SPDX-License-Identifier: MIT
// Compares a space with its model: by its tables, by walks and by user accesses.
#pragma once
#include "tests/mm/model/model.h"

// EXPECTs that the space is what the model says: regions, every table and leaf, counts, what the pages hold.
void space_check(struct space *s, const struct model *m, bool walkers);
// Check one page, by a lockless walk, for reading and for writing, and by a user access that must not fault.
void space_check_page(struct space *s, const struct model *m, vaddr_t va);
void space_check_pin(const struct model *m, unsigned pin);
