// SPDX-License-Identifier: MIT
// The mutant that is on for good: of a build of its own (make MUTANT=name), or the host program's mutant=.
#include "lab/mutant.h"
#include "kernel/lib.h"
#include "kernel/log.h"

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
// Before anything that a mutant may break. False: there is no mutant of that name.
bool mutant_init(void)
{
	if (!strcmp(MUTANT_NAME, "none"))
		return true;
	FOR_EACH_REGISTERED(mutants, struct mutant, m) {
		if (strcmp((*m)->name, MUTANT_NAME))
			continue;
		(*m)->always = 1;
		mutant_switch(*m, 1);
		return true;
	}
	return false;
}

void mutant_print_all(void)
{
	FOR_EACH_REGISTERED(mutants, struct mutant, m)
		log_error("  MUTANT=%s", (*m)->name);
}
#endif
