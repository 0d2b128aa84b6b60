// SPDX-License-Identifier: MIT
// Parts of a space's operations, for the files that these are spread over. All under the space's lock, with ranges that are
// page-aligned and in the user half.
#pragma once
#include "mm/space.h"

// Make boundaries of regions and of pages at va and end. -EINVAL, -ENOMEM, -EBUSY: nothing that can be seen was changed.
int space_cut(struct space *s, vaddr_t va, vaddr_t end);
// Unmap whatever is there, and let nothing be reachable there on return: errors as of space_unmap().
int space_clear_locked(struct space *s, vaddr_t va, u64 len);
// Move what is there, all in regions, to where no region is: errors as of space_move(), but for the ranges.
int space_move_locked(struct space *s, vaddr_t from, vaddr_t to, u64 len);
// The cuts alone, which can be refused with -EBUSY: until the lock is dropped, that move is not.
int space_cut_for_move(struct space *s, vaddr_t from, vaddr_t to, u64 len);
int space_split_locked(struct space *s, vaddr_t va);	// as space_split()
