// SPDX-License-Identifier: MIT
// The keys of the command line that belong to no single subsystem.
#include "kernel/cmdline.h"
#include "kernel/lib.h"
#include "kernel/log.h"

#define SECONDS_MAX (7 * 24 * 3600)

char opt_test[128] = "*", opt_bench[128] = "*", opt_trace[128];
u64 opt_seed = 1;
u32 opt_seconds, opt_cpus;

static bool is_glob_character(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("_.*?,-", c);
}

static const char *set_glob(char *to, size_t size, const char *value)
{
	if (strlen(value) >= size)
		return "too long";
	for (const char *c = value; *c; c++)
		if (!is_glob_character(*c))
			return "not a pattern";
	memcpy(to, value, strlen(value) + 1);
	return NULL;
}

#define GLOB_VALID "patterns of letters, digits, _ . - * ?, separated by commas, at most 127 characters"
static const char *set_test(const char *value) { return set_glob(opt_test, sizeof(opt_test), value); }
static const char *set_bench(const char *value) { return set_glob(opt_bench, sizeof(opt_bench), value); }
CMDLINE_KEY(test, GLOB_VALID " (mode=test: which suites, or suite.test; default *)", set_test);
CMDLINE_KEY(bench, GLOB_VALID " (mode=bench: which benchmarks; default *)", set_bench);
static const char *set_trace(const char *value) { return set_glob(opt_trace, sizeof(opt_trace), value); }
CMDLINE_KEY(trace, GLOB_VALID " (mode=trace: which scenes; another mode records all the time and shows the last events "
	    "when the kernel gives up; default all scenes, and no recording in another mode)", set_trace);

static const char *set_u32(u32 *to, u64 min, u64 max, const char *value)
{
	u64 v;

	if (!parse_u64(value, &v))
		return "not a number";
	if (v < min || v > max)
		return "out of range";
	*to = (u32)v;
	return NULL;
}

static const char *set_seconds(const char *value) { return set_u32(&opt_seconds, 1, SECONDS_MAX, value); }
static const char *set_cpus(const char *value) { return set_u32(&opt_cpus, 1, NR_CPUS - 1, value); }
CMDLINE_KEY(seconds, "1 to 604800 (how long the mode runs, about; default the mode's own)", set_seconds);
CMDLINE_KEY(cpus, "1 to 255 (use at most so many CPUs; default all)", set_cpus);

static const char *set_seed(const char *value)
{
	return parse_u64(value, &opt_seed) ? NULL : "not a number of 64 bits";
}
CMDLINE_KEY(seed, "a decimal or 0x hexadecimal number of 64 bits (which random sequence; default 1)", set_seed);

static const char *set_loglevel(const char *value)
{
	static const char *const names[] = { "error", "warn", "info", "debug" };

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strcmp(value, names[i])) {
			log_set_level((enum loglevel)i);
			return NULL;
		}
	}
	return "unknown level";
}
CMDLINE_KEY(loglevel, "error|warn|info|debug (the least important lines that are printed; default info)", set_loglevel);
