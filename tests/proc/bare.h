// SPDX-License-Identifier: MIT
// A program without a process: the calling thread takes a script to user mode by itself.
#pragma once
#include "tests/proc/script.h"
#include <arch/user.h>

#define BARE_CODE 0x400000ull		// writable, too
#define BARE_DATA 0x10000000000ull	// BARE_DATA_LEN bytes, none present
#define BARE_DATA_LEN (8 * PAGE_SIZE)
#define BARE_STACK_LEN (16 * PAGE_SIZE)
#define BARE_STACK_TOP 0x7fff00000000ull

struct bare {
	struct user_context c;
	struct space *s;
};

// Map all that, and load the script. The calling thread is in no space. False: the test has failed.
bool bare_fill(struct space *s, const struct instruction *script, unsigned n);
// A new space with all that. NULL: the test has failed.
struct space *bare_space(const struct instruction *script, unsigned n);
// The calling thread runs in the space, of which it takes a count, with its registers as for a new program that begins
// with that instruction. False: the test has failed, and there is nothing to leave.
bool bare_enter(struct bare *b, struct space *s, unsigned first);
void bare_leave(struct bare *b);
// Run it until something happens that is more than an interrupt and more than a page that was not present yet.
enum user_exit bare_run(struct bare *b);
// The number of the instruction at which it stands.
unsigned bare_at(const struct bare *b);
