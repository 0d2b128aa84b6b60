// SPDX-License-Identifier: MIT
// The command line: what is accepted, and that every error names what is wrong and what is valid. The keys set here
// (seconds=, seed=) do not influence the running tests' results; they are put back.
#include "kernel/cmdline.h"
#include "kernel/lib.h"
#include "lab/test.h"
#include "tests/help.h"

static char errors[2048];
static size_t errors_len;

static void collect(const char *error)
{
	if (errors_len < sizeof(errors))
		errors_len += (size_t)ksnprintf(errors + errors_len, sizeof(errors) - errors_len, "%s\n", error);
}

static bool parse_bytes(const char *line, size_t len)
{
	u32 seconds = opt_seconds;
	u64 seed = opt_seed;
	bool ok;

	errors[0] = '\0';
	errors_len = 0;
	ok = cmdline_parse_to("test", line, len, collect);
	opt_seconds = seconds;
	opt_seed = seed;
	return ok;
}

static bool parse(const char *line) { return parse_bytes(line, strlen(line)); }

// The line must be refused, and the errors must contain both parts.
static void expect_refused(int line, const char *cmdline, const char *part1, const char *part2)
{
	if (parse(cmdline))
		test_fail(__FILE__, line, "\"%.40s\" was accepted", cmdline);
	else if (!contains(errors, part1) || !contains(errors, part2))
		test_fail(__FILE__, line, "\"%.40s\" gives: %s", cmdline, errors);
}
#define EXPECT_REFUSED(cmdline, part1, part2) expect_refused(__LINE__, (cmdline), (part1), (part2))

TEST(cmdline, accepts, 0)
{
	EXPECT(parse(""));
	EXPECT(parse("   "));
	EXPECT(parse("seconds=3"));
	EXPECT(parse("  seconds=604800   seed=0xffffffffffffffff "));
	EXPECT_EQ(errors_len, 0);
}

// A zero byte does not end the line: it is refused, within the line and as its last byte.
TEST(cmdline, zeros, 0)
{
	static const char within[] = "seconds=3\0bogus=1", only[] = "";

	EXPECT(!parse_bytes(within, sizeof(within) - 1) && contains(errors, "character 0x00 at column 10"));
	EXPECT(!parse_bytes(within, 10) && contains(errors, "character 0x00 at column 10"));
	EXPECT(!parse_bytes(only, 1) && contains(errors, "character 0x00 at column 1"));
	EXPECT(parse_bytes(within, 9));
}

TEST(cmdline, last_source_wins, 0)
{
	u32 seconds = opt_seconds;

	EXPECT(cmdline_parse_all("seconds=11", "seconds=12", 10));
	EXPECT_EQ(opt_seconds, 12);
	EXPECT(cmdline_parse_all("seconds=13", "", 0));
	EXPECT_EQ(opt_seconds, 13);
	opt_seconds = seconds;
}

TEST(cmdline, unknown_key, 0)
{
	EXPECT_REFUSED("bogus=1", "unknown key \"bogus\"", "mode=");
	EXPECT_REFUSED("seconds=1 bogus=1", "unknown key \"bogus\"", "loglevel=");
	EXPECT_REFUSED("=1", "unknown key \"\"", "seed=");
	EXPECT_REFUSED("Seconds=1", "unknown key \"Seconds\"", "seconds=");
}

TEST(cmdline, no_value, 0)
{
	EXPECT_REFUSED("seconds", "is no key=value", "seconds=");
	EXPECT_REFUSED("seconds=", "seconds= has no value", "1 to 604800");
}

TEST(cmdline, given_twice, 0)
{
	EXPECT_REFUSED("seconds=1 seconds=1", "seconds= is given twice", "test");
	EXPECT_REFUSED("seconds=1 seed=1 seconds=2", "seconds= is given twice", "test");
}

TEST(cmdline, bad_values, 0)
{
	EXPECT_REFUSED("seconds=0", "out of range", "1 to 604800");
	EXPECT_REFUSED("seconds=99999999999999999999", "not a number", "1 to 604800");
	EXPECT_REFUSED("seconds=-1", "not a number", "1 to 604800");
	EXPECT_REFUSED("cpus=0", "out of range", "1 to 255");
	EXPECT_REFUSED("cpus=256", "out of range", "1 to 255");
	EXPECT_REFUSED("seed=0x", "not a number", "hexadecimal");
	EXPECT_REFUSED("mode=bogus", "unknown mode", "mode=bogus");
	EXPECT_REFUSED("test=a=b", "not a pattern", "letters");
	EXPECT_REFUSED("loglevel=loud", "unknown level", "error|warn|info|debug");
}

static void expect_merged(int line, const char *grub, const char *fw_cfg, const char *want)
{
	char buf[32];
	size_t n = cmdline_merge(grub, fw_cfg, buf, sizeof(buf));

	if (n != strlen(want) || strncmp(buf, want, sizeof(buf) - 1))
		test_fail(__FILE__, line, "\"%s\" and \"%s\" become \"%s\" (%zu)", grub, fw_cfg, buf, n);
}
#define EXPECT_MERGED(grub, fw_cfg, want) expect_merged(__LINE__, (grub), (fw_cfg), (want))

TEST(cmdline, what_two_lines_come_to, 0)
{
	EXPECT_MERGED("", "", "");
	EXPECT_MERGED("", "seed=2", "seed=2");
	EXPECT_MERGED(" seed=1  hz=100 ", "", "seed=1 hz=100");
	EXPECT_MERGED("seed=1 hz=100", " seed=2 ", "hz=100 seed=2");
	EXPECT_MERGED("se=1 seeds=3", "seed=2", "se=1 seeds=3 seed=2");
	EXPECT_MERGED("seed=1", "test=seed seed=1", "test=seed seed=1");
	EXPECT_MERGED("test=abcdefghijklmnop", "bench=abcdefghijklmnop", "test=abcdefghijklmnop bench=abcdefghijklmnop");
}

TEST(cmdline, hostile_lines, 0)
{
	static char line[4096];

	EXPECT_REFUSED("seconds=1\nseed=2", "0x0a at column 10", "printable");
	EXPECT_REFUSED("seconds=1\tseed=2", "0x09", "printable");
	EXPECT_REFUSED("\x1b[2Jseconds=1", "0x1b at column 1", "printable");
	EXPECT_REFUSED("seconds=\xff", "0xff", "printable");
	memset(line, 'a', sizeof(line) - 1);
	EXPECT_REFUSED(line, "longer than 1024", "test");
	line[CMDLINE_MAX] = '\0';
	EXPECT_REFUSED(line, "longer than 160", "aaaa...");
	memset(line, ' ', CMDLINE_MAX);
	EXPECT(parse(line));
	memset(line, '=', CMDLINE_MAX);
	EXPECT_REFUSED(line, "longer than 160", "====");
	for (size_t i = 0; i < CMDLINE_MAX; i += 2)
		memcpy(line + i, "= ", 2);
	EXPECT_REFUSED(line, "unknown key \"\"", "more errors are not shown");
}
