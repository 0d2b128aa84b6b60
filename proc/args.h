// SPDX-License-Identifier: MIT
// A command line becomes arguments.
#pragma once
#include "kernel/types.h"

#define ARGS_MAX 256		// arguments
#define ARGS_TEXT 4096		// bytes of the line, its zero included

struct args {
	unsigned n;
	const char *v[ARGS_MAX + 1];	// in `text`; v[n] is NULL
	char text[ARGS_TEXT];
};

// Split at blanks, as a shell does: '…' takes everything as it is, "…" all but \" \\ \$ \`, and outside of both a
// backslash takes the next character as it is. Nothing else has a meaning: no variables, no patterns, no comments.
// NULL, or what is wrong with the line.
const char *args_split(const char *line, struct args *out);
