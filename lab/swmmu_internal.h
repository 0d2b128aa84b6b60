// SPDX-License-Identifier: MIT
// The software MMU of one CPU. An entry is one word, so that another CPU reads it in one piece.
#pragma once
#include <arch/percpu.h>
#include "lab/swmmu.h"

#define SWMMU_LEAVES 40		// slots 0 … 39
#define SWMMU_SLOTS 64		// the others hold table pointers

// frame number (bits 0-31), level (32-34), flags, debt (44-63). Of a table pointer, `level` is that of the table named.
#define SWMMU_FRAME 0xffffffffull
#define SWMMU_LEVEL_SHIFT 32
#define SWMMU_VALID (1ull << 36)
#define SWMMU_LEAF (1ull << 37)
#define SWMMU_WRITE (1ull << 38)	// permissions are the AND of all levels down to here
#define SWMMU_DIRTY (1ull << 39)
#define SWMMU_PENDING (1ull << 40)	// stored, not yet confirmed: not used
#define SWMMU_OWED (1ull << 41)		// a check has found it while its CPU was about to drop it
#define SWMMU_DEBT_SHIFT 44

struct swmmu {
	u64 word[SWMMU_SLOTS];		// own CPU; scanners read, and set SWMMU_OWED
	u64 va[SWMMU_SLOTS];		// where its reach begins. Own CPU; scanners read
	u64 used;			// slots whose word is not 0. Own CPU; scanners read
	paddr_t root;			// the last one loaded, 0: none yet. Own CPU; scanners read
	u64 debt;			// advanced by swmmu_vouch() for this CPU
	u32 owes;			// enum swmmu_owes. Own CPU; scanners read
	u32 marked;			// scanners have marked entries since the last look
	const char *policy, *flush;	// of the space that was loaded last. Own CPU; scanners read

	// Own CPU only, its NMIs included.
	enum swmmu_owes owed_when_robbed;	// `owes` when the thief preempted this CPU
	u64 pinned;			// slots that a test has primed
	u64 settled;			// the debt up to which this CPU has dropped what vouched flushes cover
	u64 seq;			// invalidations so far
	u32 busy;			// inside a walk or an invalidation: an NMI does not fill
	u32 next_probe[PT_LEVELS];	// where the random descent left off, by level - 1
	u64 random;
} __cacheline;
DECLARE_PER_CPU(struct swmmu, swmmu);
extern struct cpumask swmmu_filled;	// CPUs that have entries

static __always_inline int swmmu_level(u64 word) { return (int)(word >> SWMMU_LEVEL_SHIFT & 7); }
static __always_inline paddr_t swmmu_frame(u64 word) { return (word & SWMMU_FRAME) << PAGE_SHIFT; }
// How much it translates: a leaf one unit of its level, a pointer to a table all that lies under the table.
static __always_inline u64 swmmu_reach(u64 word)
{
	return level_size(word & SWMMU_LEAF ? swmmu_level(word) : swmmu_level(word) + 1);
}
static __always_inline bool swmmu_covers(u64 word, vaddr_t start, vaddr_t va) { return va - start < swmmu_reach(word); }

void swmmu_settle_marks(void);		// this CPU has caught up: report marked entries that are left
