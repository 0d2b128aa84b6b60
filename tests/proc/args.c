// SPDX-License-Identifier: MIT
// Command lines and the arguments that a shell would make of them.
#include "proc/args.h"
#include "kernel/lib.h"
#include "lab/test.h"

static struct args args;
static char line[ARGS_TEXT + 1];

// Do the arguments, each with a '|' behind it, read so?
static bool gives(const char *text, const char *expected)
{
	size_t at = 0;

	if (args_split(text, &args))
		return false;
	for (unsigned i = 0; i < args.n; i++) {
		size_t n = strlen(args.v[i]);

		if (strncmp(expected + at, args.v[i], n) || expected[at + n] != '|')
			return false;
		at += n + 1;
	}
	return !expected[at] && !args.v[args.n];
}

static bool fails(const char *text, const char *why)
{
	const char *error = args_split(text, &args);

	return error && !strcmp(error, why);
}

TEST(args, blanks, 0)
{
	EXPECT(gives("", ""));
	EXPECT(gives(" \t\n ", ""));
	EXPECT(gives("a", "a|"));
	EXPECT(gives("  prog  -n 4\t--x=y \n", "prog|-n|4|--x=y|"));
	EXPECT(gives("a#b $HOME *.c | ; >\xff", "a#b|$HOME|*.c|||;|>\xff|"));
}

TEST(args, quotes, 0)
{
	EXPECT(gives("'a b' \"c d\"", "a b|c d|"));
	EXPECT(gives("a'b'\"c\"d", "abcd|"));
	EXPECT(gives("'' \"\" x''", "|||x|" + 1));
	EXPECT(gives("'\"\\' \"'\"", "\"\\|'|"));
	EXPECT(gives("'a\nb'", "a\nb|"));
}

TEST(args, backslashes, 0)
{
	EXPECT(gives("a\\ b \\'c \\\\", "a b|'c|\\|"));
	EXPECT(gives("\"\\\"\\\\\\$\\`\" \"\\n\\'\"", "\"\\$`|\\n\\'|"));
	EXPECT(gives("a\\\nb \"c\\\nd\" \\\n e", "ab|cd|e|"));
}

TEST(args, wrong, 0)
{
	EXPECT(fails("a 'b", "arguments: a ' without its partner"));
	EXPECT(fails("a b'", "arguments: a ' without its partner"));
	EXPECT(fails("\"a'", "arguments: a \" without its partner"));
	EXPECT(fails("\"a\\\"", "arguments: a \" without its partner"));
	EXPECT(fails("\"a\\", "arguments: a \" without its partner"));
	EXPECT(fails("a\\", "arguments: nothing behind a backslash"));
}

TEST(args, limits, 0)
{
	memset(line, 'x', sizeof(line));
	line[ARGS_TEXT - 1] = '\0';
	EXPECT(!args_split(line, &args) && args.n == 1 && strlen(args.v[0]) == ARGS_TEXT - 1);
	line[ARGS_TEXT - 1] = 'x';
	line[ARGS_TEXT] = '\0';
	EXPECT(fails(line, "arguments: more than 4095 characters"));
	for (unsigned i = 0; i <= ARGS_MAX; i++)
		memcpy(line + 2 * i, "a ", 2);
	line[2 * ARGS_MAX] = '\0';
	EXPECT(!args_split(line, &args) && args.n == ARGS_MAX && !args.v[ARGS_MAX]);
	line[2 * ARGS_MAX] = 'a';
	line[2 * ARGS_MAX + 1] = '\0';
	EXPECT(fails(line, "arguments: more than 256"));
}
