// SPDX-License-Identifier: MIT
// What a run does (mode=): a function declared where it is written. It runs in a kernel thread on the finished machine
// and returns the run's exit status (kernel/panic.h).
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
// seconds=, or what a mode takes by itself: `usual`, but a fifteenth where time counts instructions, for there a second
// takes the host five to ten. At least 1.
u32 mode_seconds(u32 usual);
