// SPDX-License-Identifier: MIT
// See proc/user_mode/spinner.h.
#include "tests/proc/user_mode/spinner.h"
#include "kernel/lib.h"
#include "kernel/thread.h"
#include "lab/test.h"
#include "mm/space.h"
#include <arch/uaccess.h>

struct spinner spinner;

static const struct instruction script[] = { ADD(SPINNER_TURNS, 1), PAUSE(), READ(SPINNER_GO), IF_EQ(0, 0), CALL(77) };

static int spin(void *arg)
{
	if (!bare_enter(&spinner.bare, spinner.s, 0))
		return -1;
	spinner.why = bare_run(&spinner.bare);
	bare_leave(&spinner.bare);
	return 0;
}

u32 spinner_turns(void)
{
	u32 turns = 0;

	EXPECT_EQ(arch_user_read32(SPINNER_TURNS, &turns), 0);
	return turns;
}

bool spinner_start(unsigned cpu)
{
	spinner.s = bare_space(script, ARRAY_SIZE(script));
	if (!spinner.s)
		return false;
	space_attach(spinner.s);
	spinner.thread = thread_create("spinner", spin, NULL, cpu, PRIO_NORMAL);
	if (EXPECT(spinner.thread))
		return EXPECT(EVENTUALLY(spinner_turns() > 1));
	space_detach();
	space_put(spinner.s);
	return false;
}

enum user_exit spinner_end(void)
{
	EXPECT_EQ(thread_join(spinner.thread), 0);
	space_detach();
	space_put(spinner.s);
	return spinner.why;
}
