// SPDX-License-Identifier: MIT
// Several of the other programs in one, so that one boot runs them all. Each argument is a command line:
// several "memory 2 500" malloc. Their objects are these programs' own, with other names for main() (user.mk).
#include "user/common/check.h"
#include <string.h>

#define PROGRAMS \
	X(threads) \
	X(malloc) \
	X(memory) \
	X(futex) \
	X(vm) \
	X(fpu)

#define X(name) int name##_main(int argc, char **argv);
PROGRAMS
#undef X

#define X(name) { #name, name##_main },
static const struct {
	const char *name;
	int (*main)(int argc, char **argv);
} programs[] = { PROGRAMS };
#undef X

enum { MOST_WORDS = 8 };

static int run(char *line)
{
	char *words[MOST_WORDS + 1] = { 0 };
	int n = 0;

	for (char *word = strtok(line, " "); word && n < MOST_WORDS; word = strtok(NULL, " "))
		words[n++] = word;
	for (size_t i = 0; n && i < ARRAY_SIZE(programs); i++)
		if (!strcmp(words[0], programs[i].name))
			return programs[i].main(n, words);
	say("several: there is no program \"%s\"", n ? words[0] : "");
	return 2;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		int status = run(argv[i]);
		if (status)
			return status;
	}
	return 0;
}
