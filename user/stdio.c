// SPDX-License-Identifier: MIT
// Output and input by the C library, and by the calls below it.
#include "user/common/check.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>

static void formats(void)
{
	printf("%d %5d %-5d| %05d %+d %x %#X %o %c %s %.3s %10s|\n", 42, 42, 42, 42, 42, 255, 255, 8, 'c', "text", "text", "right");
	printf("%ld %lld %zu %hhd %u %lu\n", -1l, -1ll, (size_t)1, (char)200, 4000000000u, 1ul << 63);
	printf("%f %.2f %e %g %g %a\n", 3.14159, 2.5, 12345.678, 1e-5, 1e20, 0.5);
	printf("%f %f %d%%\n", INFINITY, -INFINITY, 100);
	printf("%*d %.*f\n", 8, 7, 3, 1.0 / 3);
	fflush(stdout);
}

static void unbuffered_and_long(void)
{
	static char line[3000];

	memset(line, '.', sizeof(line) - 1);
	setvbuf(stdout, NULL, _IONBF, 0);
	puts("without a buffer");
	for (int i = 0; i < 20; i++)
		line[i * 140] = 'a' + i;
	puts(line);
	fputs("standard error\n", stderr);
}

static void vectors(void)
{
	struct iovec parts[4] = { { "one ", 4 }, { NULL, 0 }, { "two ", 4 }, { "three\n", 6 } };
	struct iovec bad[2] = { { "some\n", 5 }, { (void *)8, 4 } }, negative = { "x", ~0ul };

	say("writev: %s", outcome_of(raw(SYS_writev, 1, parts, 4ul)));
	say("writev, nothing: %s; too many: %s; bad list: %s", outcome_of(raw(SYS_writev, 1, parts, 0ul)),
	    error_of(raw(SYS_writev, 1, parts, 2000ul)), error_of(raw(SYS_writev, 1, 8, 1ul)));
	say("writev, negative length: %s", error_of(raw(SYS_writev, 1, &negative, 1ul)));
	say("writev, a bad part first: %s", error_of(raw(SYS_writev, 1, bad + 1, 1ul)));
	say("write, nothing: %s; bad address: %s; no such descriptor: %s", outcome_of(raw(SYS_write, 1, "x", 0)),
	    error_of(raw(SYS_write, 1, 8, 4)), error_of(raw(SYS_write, 77, "x", 1)));
	say("write, in the kernel's half: %s", error_of(raw(SYS_write, 1, 0xffffffff80000000, 4)));
}

static void input(void)
{
	char buffer[16];
	struct iovec part = { buffer, sizeof(buffer) };

	say("read, no bytes: %s; no such descriptor: %s", outcome_of(raw(SYS_read, 0, buffer, 0)),
	    error_of(raw(SYS_read, 77, buffer, 1)));
	say("read, at the end: %s; readv: %s", outcome_of(raw(SYS_read, 0, buffer, sizeof(buffer))),
	    outcome_of(raw(SYS_readv, 0, &part, 1ul)));
	int c = getchar();
	say("getchar: %d, end %d, error %d", c, !!feof(stdin), !!ferror(stdin));
}

static void descriptors(void)
{
	struct stat about;
	struct winsize size;

	for (int fd = 0; fd < 3; fd++)
		CHECK(!fstat(fd, &about));
	say("fstat: three descriptors; the fourth: %s; bad address: %s", error_of(raw(SYS_fstat, 77, &about)),
	    error_of(raw(SYS_fstat, 1, 8)));
	long r = raw(SYS_ioctl, 1, TIOCGWINSZ, &size);	// depends on what the output is
	CHECK(r == 0 || r == -ENOTTY);
	say("ioctl, unknown: %s; no such descriptor: %s", error_of(raw(SYS_ioctl, 1, 0x12345678, 0)),
	    error_of(raw(SYS_ioctl, 77, TIOCGWINSZ, &size)));
}

int main(void)
{
	formats();
	unbuffered_and_long();
	vectors();
	input();
	descriptors();
	return 0;
}
