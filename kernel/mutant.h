// SPDX-License-Identifier: MIT
// Mutants: a named step of a protocol that a test takes out, to show that the step is needed and that the test notices.
// Checking builds only; in release builds the condition is the constant false.
//
//	if (!MUTANT(no_flush_before_reuse))
//		tlb_flush(…);
#pragma once
#include "kernel/atomic.h"

struct mutant {
	const char *name;
	u32 on;
};

#if CHECK
#define MUTANT_DEFINE(n) \
	struct mutant mutant_##n = { .name = #n }; \
	REGISTER(mutants, mutant_##n)
#define MUTANT_DECLARE(n) extern struct mutant mutant_##n
#define MUTANT(n) unlikely(__atomic_load_n(&mutant_##n.on, __ATOMIC_RELAXED))
#define mutant_set(n, v) WRITE_ONCE(mutant_##n.on, (v))	// tests
#else
#define MUTANT_DEFINE(n) struct mutant
#define MUTANT_DECLARE(n) struct mutant
#define MUTANT(n) false
#define mutant_set(n, v) ((void)(v))
#endif
