// SPDX-License-Identifier: MIT
// read(), write() and what else C libraries ask of descriptors 0 to 2, which are pipes, or look like some. How each
// call answers bad arguments, one line each, and bytes of all values on standard output.
#include "user/common/check.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <termios.h>

#define KERNEL_HALF 0xffff888000000000ul
#define NON_CANONICAL 0x8000000000000000ul
#define TOP 0x7ffffffff000ul	// behind the last page of a program

static void row(const char *call, const char *what, long result)
{
	say("%-10s %-44s %s", call, what, outcome_of(result));
}

// One page, and behind it none. Filled with what shows in the output if it gets there.
static char *page_before_hole(void)
{
	char *p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED && !munmap(p + PAGE, PAGE));
	memset(p, '!', PAGE);
	p[PAGE - 1] = '\n';
	return p;
}

static void write_rows(void)
{
	char *p = page_before_hole();

	row("write", "no bytes", raw(SYS_write, 1, p, 0));
	row("write", "no bytes at NULL", raw(SYS_write, 1, NULL, 0));
	row("write", "no bytes in the kernel's half", raw(SYS_write, 1, KERNEL_HALF, 0));
	row("write", "no bytes behind the end", raw(SYS_write, 1, TOP, 0));
	row("write", "in the kernel's half", raw(SYS_write, 1, KERNEL_HALF, 1));
	row("write", "not canonical", raw(SYS_write, 1, NON_CANONICAL, 1));
	row("write", "not mapped", raw(SYS_write, 1, p + PAGE, 1));
	row("write", "ends in a hole", raw(SYS_write, 1, p + PAGE - 2, 5));
	row("write", "negative length", raw(SYS_write, 1, p, -1l));
	row("write", "huge length", raw(SYS_write, 1, p, 1ul << 62));
	row("write", "to standard error", raw(SYS_write, 2, "", 0));
	row("write", "to standard input", raw(SYS_write, 0, p, 1));
	row("write", "unknown descriptor", raw(SYS_write, 77, p, 1));
	row("write", "negative descriptor", raw(SYS_write, -1, p, 1));
	row("write", "descriptor and something above 32 bits", raw(SYS_write, 1l << 32 | 1, p, 0));
	row("write", "wrong descriptor and address", raw(SYS_write, 77, KERNEL_HALF, 1));
	CHECK(!munmap(p, PAGE));
}

static void writev_rows(void)
{
	struct iovec v[1025] = { { "one ", 4 }, { NULL, 0 }, { "line", 4 }, { "\n", 1 } };
	char *p = page_before_hole();

	row("writev", "four pieces, one of them empty", raw(SYS_writev, 1, v, 4));
	row("writev", "no pieces", raw(SYS_writev, 1, v, 0));
	row("writev", "no pieces in the kernel's half", raw(SYS_writev, 1, KERNEL_HALF, 0));
	row("writev", "1021 empty pieces", raw(SYS_writev, 1, v + 4, 1021));
	row("writev", "1025 pieces", raw(SYS_writev, 1, v, 1025));
	row("writev", "a negative number of pieces", raw(SYS_writev, 1, v, -1l));
	row("writev", "the pieces in the kernel's half", raw(SYS_writev, 1, KERNEL_HALF, 1));
	row("writev", "the pieces in a hole", raw(SYS_writev, 1, p + PAGE, 1));
	row("writev", "to standard input, the pieces in a hole", raw(SYS_writev, 0, p + PAGE, 1));
	v[1] = (struct iovec){ p + PAGE, 5 };
	row("writev", "the second piece in a hole", raw(SYS_writev, 1, v, 2));
	v[1] = (struct iovec){ (void *)KERNEL_HALF, 0 };
	row("writev", "an empty piece in the kernel's half", raw(SYS_writev, 1, v, 2));
	v[1] = (struct iovec){ (void *)KERNEL_HALF, -1l };
	row("writev", "the same of negative length", raw(SYS_writev, 1, v, 2));
	v[1] = (struct iovec){ p, 1ul << 62 };
	row("writev", "huge length", raw(SYS_writev, 1, v, 2));
	CHECK(!munmap(p, PAGE));
}

static void read_rows(void)
{
	char *p = page_before_hole();
	struct iovec v = { (void *)KERNEL_HALF, 1 };

	row("read", "no bytes", raw(SYS_read, 0, p, 0));
	row("read", "no bytes in the kernel's half", raw(SYS_read, 0, KERNEL_HALF, 0));
	row("read", "in the kernel's half", raw(SYS_read, 0, KERNEL_HALF, 1));
	row("read", "negative length", raw(SYS_read, 0, p, -1l));
	row("read", "from standard output", raw(SYS_read, 1, p, 1));
	row("read", "unknown descriptor", raw(SYS_read, 77, p, 1));
	row("readv", "in the kernel's half", raw(SYS_readv, 0, &v, 1));
	row("readv", "from standard output, too many pieces", raw(SYS_readv, 1, &v, 1025));
	row("readv", "no pieces", raw(SYS_readv, 0, &v, 0));
	CHECK(!munmap(p, PAGE));
}

static void other_rows(void)
{
	struct termios t;
	struct winsize w;

	row("lseek", "", raw(SYS_lseek, 1, 0, SEEK_CUR));
	row("lseek", "unknown whence", raw(SYS_lseek, 1, 0, 99));
	row("lseek", "unknown descriptor", raw(SYS_lseek, 77, 0, 99));
	row("ioctl", "TCGETS", raw(SYS_ioctl, 1, TCGETS, &t));
	row("ioctl", "TIOCGWINSZ", raw(SYS_ioctl, 1, TIOCGWINSZ, &w));
	row("ioctl", "unknown", raw(SYS_ioctl, 1, 0x12345678, &w));
	row("ioctl", "unknown descriptor", raw(SYS_ioctl, 77, TCGETS, &t));
	row("fcntl", "F_GETFD", raw(SYS_fcntl, 1, F_GETFD));
	row("fcntl", "F_GETFL", raw(SYS_fcntl, 1, F_GETFL));
	row("fcntl", "unknown", raw(SYS_fcntl, 1, 999));
	row("fcntl", "unknown descriptor", raw(SYS_fcntl, 77, 999));
}

static void stat_rows(void)
{
	struct stat s;

	row("fstat", "", raw(SYS_fstat, 1, &s));
	say("a pipe: %d, links %d, size %d, block size %d", S_ISFIFO(s.st_mode), (int)s.st_nlink, (int)s.st_size,
		(int)s.st_blksize);
	row("fstat", "in the kernel's half", raw(SYS_fstat, 1, KERNEL_HALF));
	row("fstat", "unknown descriptor", raw(SYS_fstat, 77, KERNEL_HALF));
	memset(&s, 0, sizeof(s));
	row("newfstatat", "the descriptor", raw(SYS_newfstatat, 1, "", &s, AT_EMPTY_PATH));
	CHECK(S_ISFIFO(s.st_mode));
	row("newfstatat", "no path, without saying so", raw(SYS_newfstatat, 1, "", &s, 0));
	row("newfstatat", "path in the kernel's half", raw(SYS_newfstatat, 1, KERNEL_HALF, &s, AT_EMPTY_PATH));
	row("newfstatat", "below a pipe", raw(SYS_newfstatat, 1, "x", &s, 0));
	row("newfstatat", "below an unknown descriptor", raw(SYS_newfstatat, 77, "x", &s, 0));
	row("newfstatat", "an unknown descriptor", raw(SYS_newfstatat, 77, "", &s, AT_EMPTY_PATH));
	row("newfstatat", "unknown flag", raw(SYS_newfstatat, 1, "", &s, 0x10000));
	row("newfstatat", "to the kernel's half", raw(SYS_newfstatat, 1, "", KERNEL_HALF, AT_EMPTY_PATH));
}

static void path_rows(void)
{
	static char path[5000], to[64];

	row("open", "", raw(SYS_open, "/no/such/file", O_RDONLY));
	row("open", "empty", raw(SYS_open, "", O_RDONLY));
	row("openat", "", raw(SYS_openat, AT_FDCWD, "no such file", O_RDONLY));
	row("openat", "below a pipe", raw(SYS_openat, 1, "x", O_RDONLY));
	row("openat", "below an unknown descriptor", raw(SYS_openat, 77, "x", O_RDONLY));
	row("openat", "beside an unknown descriptor", raw(SYS_openat, 77, "/no/such/file", O_RDONLY));
	row("openat", "in the kernel's half", raw(SYS_openat, AT_FDCWD, KERNEL_HALF, O_RDONLY));
	memset(path, '/', sizeof(path) - 1);
	row("openat", "too long", raw(SYS_openat, AT_FDCWD, path, O_RDONLY));
	row("access", "", raw(SYS_access, "/no/such/file", R_OK));
	row("access", "unknown mode", raw(SYS_access, "/no/such/file", 8));
	row("readlink", "", raw(SYS_readlink, "/no/such/file", to, sizeof(to)));
	row("readlink", "to no bytes", raw(SYS_readlink, KERNEL_HALF, to, 0));
	row("readlinkat", "", raw(SYS_readlinkat, AT_FDCWD, "no such file", to, sizeof(to)));
	row("readlinkat", "empty", raw(SYS_readlinkat, AT_FDCWD, "", to, sizeof(to)));
	row("readlinkat", "in the kernel's half", raw(SYS_readlinkat, AT_FDCWD, KERNEL_HALF, to, 1));
	row("readlinkat", "below a pipe", raw(SYS_readlinkat, 1, "x", to, 1));
}

// Each byte but the carriage return and the newline, which a serial line ends with a carriage return.
static void all_bytes(void)
{
	char line[256];
	int n = 0;

	for (int c = 0; c < 256; c++)
		if (c != '\r' && c != '\n')
			line[n++] = (char)c;
	line[n++] = '\n';
	CHECK_EQ(raw(SYS_write, 1, line, n), n);
}

// More than the kernel prints in one piece.
static void long_write(void)
{
	char *text = malloc(3 * PAGE);

	CHECK(text);
	for (size_t i = 0; i < 3 * PAGE; i++)
		text[i] = i % 64 == 63 ? '\n' : 'a' + i / 64 % 26;
	CHECK_EQ(raw(SYS_write, 1, text, 3 * PAGE), 3 * PAGE);
	free(text);
}

static void close_rows(void)
{
	row("close", "unknown descriptor", raw(SYS_close, 77));
	row("close", "standard error", raw(SYS_close, 2));
	row("close", "again", raw(SYS_close, 2));
	row("write", "to what is closed", raw(SYS_write, 2, "x", 1));
	row("fstat", "of what is closed", raw(SYS_fstat, 2, KERNEL_HALF));
	row("ioctl", "of what is closed", raw(SYS_ioctl, 2, TCGETS, NULL));
}

int main(void)
{
	write_rows();
	writev_rows();
	read_rows();
	other_rows();
	stat_rows();
	path_rows();
	all_bytes();
	long_write();
	close_rows();
	return 0;
}
