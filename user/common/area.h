// SPDX-License-Identifier: MIT
// An area of the address space that one thread maps, unmaps, protects, moves and touches at random, and the model of it.
#pragma once
#include "user/common/random.h"
#include <stdbool.h>
#include <stdint.h>

enum { AREA_PAGES = 192 };

enum contents { ZERO, STAMPED, EITHER /* after MADV_FREE: the stamp or zero */ };

struct area_page {
	bool mapped, shared;
	int prot;
	enum contents contents;
	uint64_t stamp;		// at both ends of the page
	uint64_t region;	// equal in pages that are certainly one mapping: mremap() takes no more than one
	int resident;		// 1: yes, 0: no, -1: may be
};

// X(name of the operation): a function op_name() in area.c, a row of what is printed
#define AREA_OPERATIONS(X) \
	X(map) X(map_noreplace) X(map_hint) X(unmap) X(protect) X(shrink) X(grow) X(move) X(dontneed) X(free) X(populate) \
	X(mincore) X(read) X(write) X(call)

#define X(name) OP_##name,
enum { AREA_OPERATIONS(X) NR_OPERATIONS };
#undef X

struct area_counts {
	uint64_t done[NR_OPERATIONS], refused[NR_OPERATIONS];	// refused: with the error that was due
	uint64_t maperr, accerr;				// faults that were due
	uint64_t sum;						// of all that was read
};

struct area {
	struct random random;
	uint64_t rounds, next_region;
	uintptr_t start;
	struct area_page pages[AREA_PAGES];
	struct area_counts counts;
};

void area_init(struct area *a, uint64_t number, uint64_t seed, uint64_t rounds);	// the number says where
void area_step(struct area *a);		// one random operation
void area_check_all(struct area *a);
void area_counts_add(struct area_counts *to, const struct area_counts *some);
void area_counts_say(const struct area_counts *c);
