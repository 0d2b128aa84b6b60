// SPDX-License-Identifier: MIT
// Lines of output, failed checks, names.
#include "user/common/check.h"
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define LINE 512

void say(const char *fmt, ...)
{
	char line[LINE + 1];
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(line, LINE, fmt, args);
	va_end(args);
	n = n < LINE ? n : LINE - 1;
	line[n++] = '\n';
	for (int done = 0; done < n;) {
		ssize_t more = write(STDOUT_FILENO, line + done, n - done);
		if (more < 0 && errno != EINTR)
			abort();
		done += more > 0 ? more : 0;
	}
}

void check_failed(const char *file, int line, const char *what)
{
	say("FAILED: %s:%d: %s (errno: %s)", file, line, what, error_of(-errno));
	_exit(1);
}

void check_differs(const char *file, int line, const char *what, long found, long wanted)
{
	say("FAILED: %s:%d: %s is %ld (%#lx), not %ld (%#lx)", file, line, what, found, found, wanted, wanted);
	_exit(1);
}

#define E(name) [name] = #name
static const char *const errors[] = {
	E(EPERM), E(ENOENT), E(ESRCH), E(EINTR), E(EIO), E(ENXIO), E(E2BIG), E(ENOEXEC), E(EBADF), E(ECHILD), E(EAGAIN),
	E(ENOMEM), E(EACCES), E(EFAULT), E(EBUSY), E(EEXIST), E(ENODEV), E(ENOTDIR), E(EISDIR), E(EINVAL), E(ENFILE),
	E(EMFILE), E(ENOTTY), E(EFBIG), E(ENOSPC), E(ESPIPE), E(EROFS), E(EPIPE), E(EDOM), E(ERANGE), E(EDEADLK),
	E(ENAMETOOLONG), E(ENOSYS), E(EOVERFLOW), E(EOPNOTSUPP), E(ETIMEDOUT), E(EOWNERDEAD), E(ENOTRECOVERABLE),
};

// musl and glibc word errors differently, so the names are ours.
static const char *name_of(long error)
{
	static _Thread_local char unknown[32];

	if (error >= 0 && error < (long)ARRAY_SIZE(errors) && errors[error])
		return errors[error];
	snprintf(unknown, sizeof(unknown), "error %ld", error);
	return unknown;
}

const char *error_of(long result) { return result >= 0 ? "ok" : name_of(-result); }

const char *outcome_of(long result)
{
	static _Thread_local char text[32];

	if (result < 0)
		return name_of(-result);
	snprintf(text, sizeof(text), "%ld", result);
	return text;
}

static const char *const signals[] = {
	E(SIGHUP), E(SIGINT), E(SIGQUIT), E(SIGILL), E(SIGTRAP), E(SIGABRT), E(SIGBUS), E(SIGFPE), E(SIGKILL), E(SIGUSR1),
	E(SIGSEGV), E(SIGUSR2), E(SIGPIPE), E(SIGALRM), E(SIGTERM), E(SIGCHLD), E(SIGCONT), E(SIGSTOP), E(SIGURG),
	E(SIGWINCH), E(SIGSYS),
};

const char *signal_name(int number)
{
	bool known = number >= 0 && number < (int)ARRAY_SIZE(signals) && signals[number];

	return known ? signals[number] : "another signal";
}
