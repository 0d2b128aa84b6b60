// SPDX-License-Identifier: MIT
// The console's system calls.
//
// Output. The program's bytes go to the printer unchanged, in pieces of up to WRITE_PIECE: a piece is printed whole,
// and no other line gets into it. As with a pipe, a piece of which a part cannot be read is not written at all.
//
// Input. What is typed is taken a line at a time, from the device, which has no interrupt: who waits looks at each
// tick. Three characters are not data, as on a terminal: EOT (Ctrl-D) ends the input for good, a carriage return ends a
// line (the program sees a newline), and LNEXT (Ctrl-V) takes its meaning from the character behind it. So any bytes at
// all can be sent: with LNEXT before each of the three.
#include "sys/console.h"
#include "kernel/atomic.h"
#include "kernel/log.h"
#include "kernel/time.h"
#include "mm/frame/slab.h"
#include "sys/iov.h"
#include "sys/syscall.h"
#include <arch/machine.h>
#include <arch/uaccess.h>

enum { NR_FDS = 3, STDIN = 0 };
enum { WRITE_PIECE = 4096, WRITE_PIECE_WITHOUT_MEMORY = 256, LINE_MOST = 256 };
enum { EOT = 0x04, LNEXT = 0x16 };

bool fd_is_open(const struct task *t, u32 fd) { return fd < NR_FDS && !(READ_ONCE(t->process->closed) >> fd & 1); }

static bool is_input(const struct task *t, u32 fd) { return fd == STDIN && fd_is_open(t, fd); }
static bool is_output(const struct task *t, u32 fd) { return fd != STDIN && fd_is_open(t, fd); }

// ---- Output ---------------------------------------------------------------------------------------------------------

static s64 print_pieces(struct task *t, struct iovs *v, char *piece, size_t size)
{
	s64 done = 0;

	while (v->left && !(READ_ONCE(t->user.work) & WORK_EXIT)) {
		size_t n = MIN(v->left, size);

		if (iovs_copy_in(v, piece, n))
			return done ?: -EFAULT;
		log_write(piece, n);
		done += (s64)n;
	}
	return done;
}

static s64 console_write(struct task *t, struct iovs *v)
{
	char few[WRITE_PIECE_WITHOUT_MEMORY], *many = v->left > sizeof(few) ? kmalloc(WRITE_PIECE) : NULL;
	s64 result = many ? print_pieces(t, v, many, WRITE_PIECE) : print_pieces(t, v, few, sizeof(few));

	kfree(many);
	return result;
}

// ---- Input ----------------------------------------------------------------------------------------------------------

// The line that is typed, and then given to whoever reads.
static struct {
	u32 taken;		// a task is at it
	bool complete;		// the line may be given
	bool literal;		// LNEXT was the last character
	bool ended;		// EOT has come
	u32 start, end;		// what of `text` has not been given
	char text[LINE_MOST];
} line;

static bool line_take(void) { return cmpxchg(&line.taken, 0u, 1u); }
static void line_release(void) { xchg(&line.taken, 0u); }

// A character has come. Is the line complete?
static bool line_add(char c)
{
	bool literal = line.literal;

	line.literal = !literal && c == LNEXT;
	if (line.literal)
		return false;
	if (!literal && c == EOT)
		return line.ended = true;
	if (!literal && c == '\r')
		c = '\n';
	line.text[line.end++] = c;
	return (!literal && c == '\n') || line.end == LINE_MOST;
}

static bool line_read(void)
{
	int c;

	while (!line.complete && !line.ended && (c = arch_console_getc()) >= 0)
		line.complete = line_add((char)c);
	return line.complete || line.ended;
}

// Give what v takes of the line, 0 bytes at the end of input. What cannot be stored stays.
static s64 line_give(struct iovs *v)
{
	u32 n = (u32)MIN(v->left, (u64)(line.end - line.start));

	if (iovs_copy_out(v, line.text + line.start, n))
		return -EFAULT;
	line.start += n;
	if (line.start == line.end) {
		line.start = line.end = 0;
		line.complete = false;
	}
	return n;
}

static s64 console_read(struct iovs *v)
{
	if (!v->left)
		return 0;
	for (;;) {
		if (line_take()) {
			bool ready = line_read();
			s64 result = ready ? line_give(v) : 0;

			line_release();
			if (ready)
				return result;
		}
		if (task_interrupted())
			return -ERESTARTSYS;
		thread_sleep_ns(tick_ns());
	}
}

// ---- The calls ------------------------------------------------------------------------------------------------------

static s64 sys_read(struct task *t, const u64 a[6])
{
	struct iovs v;

	if (!is_input(t, (u32)a[0]))
		return -EBADF;
	return iovs_init_one(&v, a[1], a[2]) ?: console_read(&v);
}
SYSCALL(0, read, sys_read);

static s64 sys_write(struct task *t, const u64 a[6])
{
	struct iovs v;

	if (!is_output(t, (u32)a[0]))
		return -EBADF;
	return iovs_init_one(&v, a[1], a[2]) ?: console_write(t, &v);
}
SYSCALL(1, write, sys_write);

static s64 sys_readv(struct task *t, const u64 a[6])
{
	struct iovs v;
	s64 result;

	if (!is_input(t, (u32)a[0]))
		return -EBADF;
	result = iovs_init(&v, a[1], a[2]) ?: console_read(&v);
	iovs_free(&v);
	return result;
}
SYSCALL(19, readv, sys_readv);

static s64 sys_writev(struct task *t, const u64 a[6])
{
	struct iovs v;
	s64 result;

	if (!is_output(t, (u32)a[0]))
		return -EBADF;
	result = iovs_init(&v, a[1], a[2]) ?: console_write(t, &v);
	iovs_free(&v);
	return result;
}
SYSCALL(20, writev, sys_writev);

static s64 sys_close(struct task *t, const u64 a[6])
{
	u32 fd = (u32)a[0];

	if (fd >= NR_FDS || fetch_or(&t->process->closed, 1u << fd) >> fd & 1)
		return -EBADF;
	return 0;
}
SYSCALL(3, close, sys_close);

enum { SEEK_LAST = 4 };		// SEEK_HOLE

static s64 sys_lseek(struct task *t, const u64 a[6])
{
	if (!fd_is_open(t, (u32)a[0]))
		return -EBADF;
	return (u32)a[2] <= SEEK_LAST ? -ESPIPE : -EINVAL;
}
SYSCALL(8, lseek, sys_lseek);

// No terminal (see console.h), and no device either.
static s64 sys_ioctl(struct task *t, const u64 a[6])
{
	return fd_is_open(t, (u32)a[0]) ? -ENOTTY : -EBADF;
}
SYSCALL(16, ioctl, sys_ioctl);

enum { F_GETFD = 1, F_GETFL = 3 };

static s64 sys_fcntl(struct task *t, const u64 a[6])
{
	u32 fd = (u32)a[0];

	if (!fd_is_open(t, fd))
		return -EBADF;
	switch ((u32)a[1]) {
	case F_GETFD: return 0;				// not closed by an exec
	case F_GETFL: return is_input(t, fd) ? 0 : 1;	// O_RDONLY, O_WRONLY
	default: return -EINVAL;
	}
}
SYSCALL(72, fcntl, sys_fcntl);
