// SPDX-License-Identifier: MIT
// A space as a reader of space.h imagines it: a sorted list of mappings, and the contents of their pages. No tables, no
// locks, no other CPU. Each operation does to the model what the header promises and returns what the real one must
// return, unless memory runs out.
//
// The addresses in use are a few places where tables begin and end: MODEL_SLOTS pieces of 2 MiB.
#pragma once
#include "mm/space.h"

#define MODEL_SLOTS 12
#define MODEL_PAGES (MODEL_SLOTS * PT_ENTRIES)
#define MODEL_MAPPINGS 512
#define MODEL_PINS 8
#define SLOT_SIZE (PT_ENTRIES * PAGE_SIZE)

struct mapping {		// as struct region
	vaddr_t start, end;
	u8 prot, level, flags;
};

struct model_page {
	u64 word[2];		// the first and the last of the page
	bool present;
};

struct model_pin {
	struct page *page;	// NULL: free
	int index;		// index of its page, if that is still mapped; -1: it is unmapped
	bool write;
	u64 word[2];		// the contents of an unmapped page
};

struct model {
	unsigned nr_mappings;
	struct mapping list[MODEL_MAPPINGS];	// sorted, disjoint, equal neighbours joined
	struct model_page page[MODEL_PAGES];
	bool collapsed[MODEL_SLOTS];		// one leaf of level 2 in a mapping of level 1
	u64 present;				// pages
	struct model_pin pin[MODEL_PINS];
};

void model_reset(struct model *m);
vaddr_t model_slot_va(unsigned slot);
unsigned model_slots_from(unsigned slot);	// slots without a gap from this one on, itself included
int model_index(vaddr_t va);			// of the page at va; -1: outside the slots
vaddr_t model_va(unsigned index);

const struct mapping *model_find(const struct model *m, vaddr_t va);	// NULL: none
bool model_permits(const struct model *m, vaddr_t va, bool write);
int model_leaf_level(const struct model *m, unsigned index);		// 0: not present
unsigned model_slot_pins(const struct model *m, unsigned slot);		// pins of pages that are mapped in it

int model_map(struct model *m, vaddr_t va, u64 len, unsigned prot, int level, bool populate);
int model_unmap(struct model *m, vaddr_t va, u64 len);
int model_protect(struct model *m, vaddr_t va, u64 len, unsigned prot);
int model_discard(struct model *m, vaddr_t va, u64 len);
int model_fault(struct model *m, vaddr_t va, bool write);
int model_move(struct model *m, vaddr_t from, vaddr_t to, u64 len);
int model_collapse(struct model *m, vaddr_t va);
int model_split(struct model *m, vaddr_t va);
int model_map_over(struct model *m, vaddr_t va, u64 len, unsigned prot, unsigned flags);	// small pages
int model_set_flags(struct model *m, vaddr_t va, u64 len, unsigned set, unsigned clear);
int model_populate(struct model *m, vaddr_t va, u64 len, bool write);	// 0, or any error
// mremap() of private memory: in place, below `high`, or (fixed) to `to`. Whole pages, not empty.
int model_remap(struct model *m, vaddr_t from, u64 from_len, u64 to_len, bool fixed, vaddr_t to, vaddr_t high);
