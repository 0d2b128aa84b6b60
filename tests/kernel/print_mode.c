// SPDX-License-Identifier: MIT
// mode=print: when `p` is typed it prints numbered lines, more than the console keeps, and when `q` is typed after that
// the run ends. For tests of the console and of its readers (tools/selftests/check_console.py).
#include "kernel/log.h"
#include "kernel/mode.h"
#include "kernel/panic.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include <arch/machine.h>

#define LINES 8000	// of 40 characters each

static void wait_for_key(char key)
{
	while (arch_console_getc() != key)
		thread_sleep_ns(tick_ns());
}

static int print(void)
{
	u64 start;

	wait_for_key('p');
	start = now_ns();
	for (int i = 0; i < LINES; i++)
		kprintf("# line %04d %.*s\n", i, 27, "...........................");
	start = now_ns() - start;
	wait_for_key('q');
	log_info("%d lines took %llu ms", LINES, (unsigned long long)(start / NSEC_PER_MSEC));
	return EXIT_OK;
}
MODE(print, print);
