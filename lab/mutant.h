// SPDX-License-Identifier: MIT
// Mutants: a named step of a protocol that a test takes out, to show that the step is needed and that the test notices.
// Checking builds only; in release builds the condition is the constant false. `make MUTANT=name` builds a checking
// kernel in which that mutant is on from the start and stays on, whatever a test says.
//
// A mutant is defined where it stands. It begins the condition of an if of its own, which does nothing while the mutant
// is off: so it is never mixed with a condition of the release build.
//
//	if (MUTANT(flushes_nothing))			if (!MUTANT(frees_nothing))
//		return;						page_put(p);
//
// One name may stand at several places (an inlined body is one at each): there is an object for each, and all of them
// are switched together.
#pragma once
#include "kernel/atomic.h"

struct mutant {
	const char *name;
	u32 on;
	u32 always;	// never off: MUTANT= of this build, or mutant= of this run
};

const char *mutant_name(void);	// of the one that is always on, or "none"

#if CHECK
#define MUTANT(n) ({ \
	static struct mutant _mutant = { .name = #n }; \
	REGISTER(mutants, _mutant); \
	unlikely(__atomic_load_n(&_mutant.on, __ATOMIC_RELAXED)); })

bool mutant_init(void);		// switches this build's on; false: there is none of its name
void mutant_print_all(void);	// all names
bool mutant_turn(const char *name, bool on);	// false: there is none of that name
bool mutant_always(const char *name);		// on, and never off again; false: as above
void mutant_turn_or_fail(const char *name, bool on);	// … and then the running test fails
#define mutant_set(n, v) mutant_turn_or_fail(#n, (v))	// tests
#else
#define MUTANT(n) false
#define mutant_set(n, v) ((void)(v))

static inline bool mutant_init(void) { return true; }
static inline void mutant_print_all(void) { }
#endif
