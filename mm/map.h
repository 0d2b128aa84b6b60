// SPDX-License-Identifier: MIT
// Mapping of any kind of memory, and mremap(). As for space.h: may sleep; the caller holds a count of the space; addresses
// and lengths in bytes.
#pragma once
#include "mm/space.h"

// Map [va, va + len), without a page yet. Takes a count of k->object. -EINVAL: misaligned, empty, or outside the user half;
// -EEXIST: overlaps a region; -ENOMEM.
int space_map_kind(struct space *s, vaddr_t va, u64 len, const struct region_kind *k);
// The same in the place of whatever is there: errors as of space_unmap(); on failure nothing was changed.
int space_map_over(struct space *s, vaddr_t va, u64 len, const struct region_kind *k);

struct map_place {
	vaddr_t hint;		// here, if it is free and between low and limit; 0: no wish
	vaddr_t low, high;	// otherwise as high as possible between the two; low is not 0
	vaddr_t limit;		// where there is no room, up to here. Not below high
};
// The same where there is room. Returns the address; -ENOMEM: also if there is no room.
s64 space_map_anywhere(struct space *s, u64 len, const struct region_kind *k, const struct map_place *w);

struct remap {
	vaddr_t from;
	u64 from_len, to_len;	// from_len 0: a second mapping of the object at `from`
	bool may_move;
	bool fixed;		// to `to`, in the place of what is there. Implies may_move
	bool leave;		// the old range stays mapped, without its pages. Implies may_move; from_len == to_len
	vaddr_t to;
	vaddr_t low, high, limit;	// for a place that is to be found, as in map_place; nothing ends behind limit
};
// mremap(): move, grow, shrink. Returns the new address. -EFAULT: the range is not inside one region of small pages;
// -EINVAL: misaligned, empty, overlapping; -ENOMEM: also no room; -EBUSY: a collapsed page cannot be split, and nothing was
// changed. Where `fixed`, any other failure may have unmapped what was in the way.
s64 space_remap(struct space *s, const struct remap *q);
