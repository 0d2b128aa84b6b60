// SPDX-License-Identifier: MIT
// Command lines of programs. What was split is quoted and split again: the arguments must be the same.
#include <stdlib.h>
#include <string.h>
#include "proc/args.h"
#include "kernel/lib.h"
#include "arch/host/host.h"
#include "tests/fuzz/fuzz.h"

static struct args args, again;
static char line[8 * ARGS_TEXT];

static size_t quote(const char *s, char *to)
{
	char *start = to;

	*to++ = '\'';
	for (; *s; s++)
		to += *s == '\'' ? (memcpy(to, "'\\''", 4), 4) : (*to = *s, 1);
	*to++ = '\'';
	*to++ = ' ';
	return (size_t)(to - start);
}

static void judge(void)
{
	size_t n = 0;

	FUZZ_REQUIRE(args.n <= ARGS_MAX && !args.v[args.n]);
	for (unsigned i = 0; i < args.n; i++) {
		FUZZ_REQUIRE(args.v[i] == (i ? args.v[i - 1] + strlen(args.v[i - 1]) + 1 : args.text));
		n += quote(args.v[i], line + n);
	}
	line[n] = '\0';
	if (n >= ARGS_TEXT)
		return;
	FUZZ_REQUIRE(!args_split(line, &again) && again.n == args.n);
	for (unsigned i = 0; i < args.n; i++)
		FUZZ_REQUIRE(!strcmp(args.v[i], again.v[i]));
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	host_percpu_boot();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	memcpy(text, data, size);
	text[size] = '\0';
	if (!args_split(text, &args))
		judge();
	free(text);
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
	static const char special[] = "'\"\\ \n$`";

	size = LLVMFuzzerMutate(data, size, max);
	if (size && seed % 4 == 0)
		data[seed / 4 % size] = (uint8_t)special[seed >> 20 & 7 ? (seed >> 20 & 7) - 1 : 0];
	return size;
}
