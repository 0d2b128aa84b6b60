// SPDX-License-Identifier: MIT
// What is asked about ranges, and set: mlock(), mincore(), futexes. As for space.h: may sleep; the caller holds a count of the
// space; va and len are multiples of the page size, in the user half.
#pragma once
#include "mm/space.h"

struct region_info {
	vaddr_t start, end;
	struct region_kind kind;	// at start. The object may be gone by now: only to be compared with NULL
};
// The first region that ends behind va. False: none. A snapshot: other threads may change it at once.
bool space_query(struct space *s, vaddr_t va, struct region_info *info);
// Is va on a shared object: which one, by a number that is never used again, and where in it? False: it is not.
bool space_shared_object(struct space *s, vaddr_t va, u64 *object, u64 *offset);
// Set and clear flags of all regions of the range. -ENOENT: a hole; what lies before it has been changed. Otherwise as
// space_protect(). A hint to nobody: REGION_LOCKED brings nothing in.
int space_set_flags(struct space *s, vaddr_t va, u64 len, unsigned set, unsigned clear);
void space_set_flags_everywhere(struct space *s, unsigned set, unsigned clear);	// all regions
// Make every page present, as if touched with that access. Stops at the first that cannot be: errors as of
// space_fault_access(); the pages before it are present. -EINTR: the calling thread is to end.
int space_populate(struct space *s, vaddr_t va, u64 len, unsigned access);
// For each page, a byte: 1 if it is in memory (of an object: wherever it is mapped), otherwise 0. -ENOENT: a hole; then the
// bytes are unspecified.
int space_resident(struct space *s, vaddr_t va, u64 pages, u8 *vec);
// Put a count of an object that a region of the space may map.
void space_object_put(struct space *s, struct object *o);
