// SPDX-License-Identifier: MIT
// mode=, and how long a mode runs.
#include "kernel/mode.h"
#include "kernel/cmdline.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include <arch/time.h>

const struct mode_entry *opt_mode;

const struct mode_entry *mode_find(const char *name)
{
	FOR_EACH_REGISTERED(modes, const struct mode_entry, m)
		if (!strcmp((*m)->name, name))
			return *m;
	return NULL;
}

static const char *set_mode(const char *value)
{
	const struct mode_entry *m = mode_find(value);

	if (!m)
		return "unknown mode";
	opt_mode = m;
	return NULL;
}

static void print_modes(void)
{
	FOR_EACH_REGISTERED(modes, const struct mode_entry, m)
		log_error("  mode=%s", (*m)->name);
}
CMDLINE_KEY_LIST(mode, "what the run does; default " MODE_DEFAULT, set_mode, print_modes);

u32 mode_seconds(u32 usual)
{
	if (opt_seconds)
		return opt_seconds;
	return arch_cycles_are_instructions() ? MAX(usual / 15, 1u) : usual;
}
