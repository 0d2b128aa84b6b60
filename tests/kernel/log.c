// SPDX-License-Identifier: MIT
// The printer: a line longer than kprintf() takes stays in one piece while other CPUs print. Only the other end of the
// serial line sees what arrives: tools/matrix.py requires both of these lines, whole.
#include "kernel/lib.h"
#include "kernel/log.h"
#include "lab/test.h"
#include "mm/frame/slab.h"
#include "tests/bench/load.h"

#define LONG (LOG_LINE_MAX + 1000)	// of x
#define SHORT_LINES 200u

static u32 stop;

static int chatter(void *unused)
{
	for (unsigned i = 0; i < SHORT_LINES && !READ_ONCE(stop); i++)
		kprintf("# log: a short line\n");
	return 0;
}

static int long_line(void *arg)
{
	char *text = kmalloc(LONG + 64);
	size_t n;

	if (!text)
		return -1;
	n = (size_t)ksnprintf(text, 64, "# log: long line %s ", (const char *)arg);
	memset(text + n, 'x', LONG);
	n += LONG;
	n += (size_t)ksnprintf(text + n, 16, " ends\n");
	log_write(text, n);
	kfree(text);
	return 0;
}

TEST(log, long_lines_stay_whole, NEEDS_CPUS2)
{
	struct thread *talk, *line;

	WRITE_ONCE(stop, 0);
	preempt_disable();
	talk = thread_create("chatter", chatter, NULL, other_cpu(0), PRIO_NORMAL);
	preempt_enable();
	line = thread_create("long line", long_line, "1", CPU_ANY, PRIO_NORMAL);
	EXPECT(talk && line);
	EXPECT_EQ(long_line("2"), 0);
	if (line)
		EXPECT_EQ(thread_join(line), 0);
	WRITE_ONCE(stop, 1);
	if (talk)
		thread_join(talk);
}
