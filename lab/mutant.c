// SPDX-License-Identifier: MIT
// The mutants by name, and the one that is always on: that of a build by make MUTANT=name, or of the host program's
// mutant=.
#include "lab/mutant.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "lab/test.h"

#ifndef MUTANT_NAME
#define MUTANT_NAME "none"
#endif

const char *mutant_name(void)
{
#if CHECK
	FOR_EACH_REGISTERED(mutants, struct mutant, m)
		if ((*m)->always)
			return (*m)->name;
#endif
	return MUTANT_NAME;
}

#if CHECK
bool mutant_turn(const char *name, bool on)
{
	bool found = false;

	FOR_EACH_REGISTERED(mutants, struct mutant, m) {
		if (strcmp((*m)->name, name))
			continue;
		WRITE_ONCE((*m)->on, on || (*m)->always);
		found = true;
	}
	return found;
}

bool mutant_always(const char *name)
{
	FOR_EACH_REGISTERED(mutants, struct mutant, m)
		if (!strcmp((*m)->name, name))
			(*m)->always = 1;
	return mutant_turn(name, true);
}

void mutant_turn_or_fail(const char *name, bool on)
{
	if (!mutant_turn(name, on))
		test_fail(__FILE__, __LINE__, "there is no mutant %s", name);
}

// Before anything that a mutant may break.
bool mutant_init(void) { return !strcmp(MUTANT_NAME, "none") || mutant_always(MUTANT_NAME); }

static bool stands_for_all(const struct mutant *m)
{
	FOR_EACH_REGISTERED(mutants, struct mutant, it)
		if (!strcmp((*it)->name, m->name))
			return *it == m;
	return true;
}

void mutant_print_all(void)
{
	FOR_EACH_REGISTERED(mutants, struct mutant, m)
		if (stands_for_all(*m))
			log_error("  MUTANT=%s", (*m)->name);
}
#endif
