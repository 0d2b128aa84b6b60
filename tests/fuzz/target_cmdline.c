// SPDX-License-Identifier: MIT
// The command line: two lines, separated by a zero byte: GRUB's, and fw_cfg's, which overrides it and may hold more
// zero bytes. Whatever they hold, parsing ends, and either accepts all silently or refuses with errors that can be
// printed.
#include <stdlib.h>
#include "kernel/cmdline.h"
#include "kernel/lib.h"
#include "kernel/time.h"
#include "arch/host/host.h"
#include "tests/fuzz/fuzz.h"

#define MOST_REPORTS 9		// eight errors, and how many more there are
#define MOST_LENGTH 511

static unsigned reports;

static void judge_report(const char *error)
{
	size_t n = strlen(error);

	FUZZ_REQUIRE(++reports <= MOST_REPORTS);
	FUZZ_REQUIRE(n && n <= MOST_LENGTH);
	for (size_t i = 0; i < n; i++)		// a line of garbage must not reprogram the terminal ("…" stands in some hints)
		FUZZ_REQUIRE((error[i] >= ' ' && error[i] <= '~') || (error[i] & 0x80));
}

static bool parse_bytes(const char *line, size_t len)
{
	bool ok;

	reports = 0;
	ok = cmdline_parse_to("fuzz", line, len, judge_report);
	FUZZ_REQUIRE(ok == !reports);
	return ok;
}

static bool parse(const char *line) { return parse_bytes(line, strlen(line)); }

static void judge_values(void)
{
	FUZZ_REQUIRE(opt_cpus < NR_CPUS && opt_seconds <= 604800 && tick_hz >= 100 && tick_hz <= 1000);
	FUZZ_REQUIRE(strnlen(opt_test, sizeof(opt_test)) < sizeof(opt_test));
	FUZZ_REQUIRE(strnlen(opt_bench, sizeof(opt_bench)) < sizeof(opt_bench));
}

// Spaces around it change nothing, as long as the line does not become too long.
static bool parse_padded(const char *line)
{
	char padded[CMDLINE_MAX + 8];

	ksnprintf(padded, sizeof(padded), "  %s  ", line);
	return parse(padded);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	host_percpu_boot();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *both = malloc(size + 2), *first, *second;
	size_t n, second_len;
	bool ok;

	memcpy(both, data, size);
	both[size] = both[size + 1] = '\0';
	n = strlen(both);
	first = fuzz_exact(both, n + 1);
	second_len = n < size ? size - n - 1 : 0;
	second = fuzz_exact(both + n + 1, second_len + 1);
	ok = parse(first);
	judge_values();
	FUZZ_REQUIRE(parse(first) == ok);
	if (n + 4 <= CMDLINE_MAX)
		FUZZ_REQUIRE(parse_padded(first) == ok);
	ok &= parse_bytes(second, second_len);
	FUZZ_REQUIRE(cmdline_parse_all(first, second, second_len) == ok);
	FUZZ_REQUIRE(!ok || strlen(second) == second_len);
	judge_values();
	fuzz_forget_console();
	free(first);
	free(second);
	free(both);
	return 0;
}
