// SPDX-License-Identifier: MIT
// What a run does (mode=): a function declared where it is written. It runs in a kernel thread when the machine is
// fully up, and returns the run's exit status (kernel/panic.h).
#pragma once
#include "kernel/types.h"

struct mode_entry {
	const char *name;
	int (*run)(void);
};
#define MODE(name_, fn) \
	static const struct mode_entry mode_##name_ = { .name = #name_, .run = (fn) }; \
	REGISTER(modes, mode_##name_)

#define MODE_DEFAULT "compare"
const struct mode_entry *mode_find(const char *name);	// NULL: this build has none of that name
extern const struct mode_entry *opt_mode;		// mode=; NULL: not given
// seconds=, or if that is not given `usual`; where time counts instructions a fifteenth of `usual`, because the host
// takes five to ten seconds for one such second. At least 1.
u32 mode_seconds(u32 usual);
