// SPDX-License-Identifier: MIT
// What each program uses: checks, its lines of output, raw system calls, names of errors.
#pragma once
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define PAGE 4096ul

// One line to standard output, by one write(): lines of threads do not mix, and a crash loses none.
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
// A line that names the place, and exit status 1.
_Noreturn void check_failed(const char *file, int line, const char *what);
_Noreturn void check_differs(const char *file, int line, const char *what, long found, long wanted);

#define CHECK(c) do { if (!(c)) check_failed(__FILE__, __LINE__, #c); } while (0)
#define CHECK_EQ(found, wanted) do { \
	long found_ = (long)(found), wanted_ = (long)(wanted); \
	if (found_ != wanted_) \
		check_differs(__FILE__, __LINE__, #found, found_, wanted_); \
} while (0)

// A system call as the kernel answers it: the result, or a negative error number. Only where no result is -1.
#define raw(...) ({ long raw_ = syscall(__VA_ARGS__); raw_ == -1 ? -(long)errno : raw_; })

// "ok" or the error's name, for a result of raw(): for results that differ from run to run, such as addresses.
const char *error_of(long result);
// The same with the result in the place of "ok". Valid until the thread's next call.
const char *outcome_of(long result);
// "SIGSEGV" …
const char *signal_name(int number);
