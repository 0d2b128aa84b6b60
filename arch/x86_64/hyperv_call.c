// SPDX-License-Identifier: MIT
// Input of the flush hypercalls; the layout is in hyperv_call.h.
#include "arch/x86_64/hyperv_call.h"
#include "kernel/lib.h"
#include <arch/pte.h>

#define MOST_PAGES 4096u	// of one range

static unsigned put_targets(u64 *input, const struct hv_vps *vps, bool extended)
{
	unsigned n = 2;

	if (!extended) {
		input[n++] = vps->banks & 1 ? vps->bank[0] : 0;
		return n;
	}
	input[n++] = 0;		// sparse
	input[n++] = vps->banks;
	for (unsigned b = 0; b < HV_BANKS; b++)
		if (vps->banks >> b & 1)
			input[n++] = vps->bank[b];
	return n;
}

// A large page is flushed as a whole when any of its addresses is named.
static unsigned put_ranges(u64 *to, u64 start, u64 pages, int level)
{
	unsigned n = 0;

	for (; pages && n < HV_MOST_RANGES; n++) {
		u64 some = level == 1 ? MIN(pages, (u64)MOST_PAGES) : 1;

		to[n] = (start & ~(u64)(PAGE_SIZE - 1)) | (some - 1);
		start += some * level_size(level);
		pages -= some;
	}
	return pages ? 0 : n;
}

u64 hv_flush_build(u64 *input, u64 root, u64 start, u64 pages, int level, const struct hv_vps *vps, bool extended)
{
	u64 control = extended ? (pages ? HV_FLUSH_LIST_EX : HV_FLUSH_SPACE_EX) : pages ? HV_FLUSH_LIST : HV_FLUSH_SPACE;
	unsigned n, ranges;

	input[0] = root;
	input[1] = pages ? 0 : HV_NON_GLOBAL_ONLY;	// user entries are never global
	n = put_targets(input, vps, extended);
	if (extended)
		control |= (u64)__builtin_popcountll(vps->banks) << HV_VARHEAD_SHIFT;
	if (!pages)
		return control;
	ranges = put_ranges(input + n, start, pages, level);
	return ranges ? control | (u64)ranges << HV_REPS_SHIFT : 0;
}
