// SPDX-License-Identifier: MIT
// The four flush hypercalls of Hyper-V as data: the control word and the input, apart from how they are issued.
// (Hypervisor Top-Level Functional Specification: hypercall interface, HvCallFlushVirtualAddress{Space,List}{,Ex}.)
//
//   control   15:0 call code | 26:17 size of a variable header, in 8 bytes | 43:32 repetitions | 59:48 first of them
//   input     space        short  root, flags, mask of VPs 0 to 63
//                          ex     root, flags, format (0: sparse), mask of banks, one word for each bank that is not empty
//             list: the same, then an 8-byte element for each range: base | further pages (0 to 4095)
#pragma once
#include "kernel/types.h"

enum { HV_FLUSH_SPACE = 0x0002, HV_FLUSH_LIST = 0x0003, HV_FLUSH_SPACE_EX = 0x0013, HV_FLUSH_LIST_EX = 0x0014 };
enum { HV_NON_GLOBAL_ONLY = 1 << 2 };	// a flag; an error with a list
#define HV_VARHEAD_SHIFT 17
#define HV_REPS_SHIFT 32
#define HV_FIRST_REP_SHIFT 48
#define HV_REPS_MASK 0xfffu
#define HV_STATUS(result) ((u16)(result))
#define HV_REPS_DONE(result) ((u32)((result) >> HV_REPS_SHIFT) & HV_REPS_MASK)

// Virtual processors, which Hyper-V numbers as it likes: 64 banks of 64.
#define HV_BANKS 64
struct hv_vps {
	u64 banks;		// which are not empty
	u64 bank[HV_BANKS];	// valid where the bit in `banks` is set
};
static inline void hv_vps_add(struct hv_vps *s, unsigned vp)
{
	unsigned b = vp / 64;

	if (!(s->banks >> b & 1))
		s->bank[b] = 0;
	s->banks |= 1ull << b;
	s->bank[b] |= 1ull << vp % 64;
}

#define HV_MOST_RANGES 56
#define HV_INPUT_WORDS 128	// 4 + 64 banks + the ranges
// Fill `input` and return the control word, or 0: too many ranges. Arguments as for arch_hyperv_flush(): the whole
// space, or the ranges if pages > 0. `extended`: the form that is needed for VPs beyond the first bank.
u64 hv_flush_build(u64 *input, u64 root, u64 start, u64 pages, int level, const struct hv_vps *vps, bool extended);
