// SPDX-License-Identifier: MIT
// Mutants: a named step of a protocol that a test takes out, to show that the step is needed and that the test notices.
// Checking builds only; in release builds the condition is the constant false. `make MUTANT=name` builds a checking
// kernel in which that one is on from the start and stays on, whatever a test says.
//
//	if (!MUTANT(no_flush_before_reuse))
//		tlb_flush(…);
#pragma once
#include "kernel/atomic.h"

struct mutant {
	const char *name;
	u32 on;
	u32 always;	// this build's: never off
};

const char *mutant_name(void);	// of the one that is on for good, or "none"

#if CHECK
bool mutant_init(void);		// switches it on; false: nobody defines it
void mutant_print_all(void);	// all names

static inline void mutant_switch(struct mutant *m, bool on) { WRITE_ONCE(m->on, on || m->always); }
#define MUTANT_DEFINE(n) \
	struct mutant mutant_##n = { .name = #n }; \
	REGISTER(mutants, mutant_##n)
#define MUTANT_DECLARE(n) extern struct mutant mutant_##n
#define MUTANT(n) unlikely(__atomic_load_n(&mutant_##n.on, __ATOMIC_RELAXED))
#define mutant_set(n, v) mutant_switch(&mutant_##n, (v))	// tests
#else
static inline bool mutant_init(void) { return true; }
static inline void mutant_print_all(void) { }

#define MUTANT_DEFINE(n) struct mutant
#define MUTANT_DECLARE(n) struct mutant
#define MUTANT(n) false
#define mutant_set(n, v) ((void)(v))
#endif
