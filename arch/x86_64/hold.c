// SPDX-License-Identifier: MIT
// The last lines stay on the screen until somebody has read them.
#include "arch/x86_64/hold.h"
#include "arch/x86_64/io.h"
#include "arch/x86_64/screen.h"
#include "kernel/atomic.h"
#include "kernel/cmdline.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/panic.h"
#include "kernel/time.h"
#include <arch/machine.h>

#define HOLD_MAX 86400
#define SEEN_NS (100 * NSEC_PER_MSEC)	// of the time between two looks at most so much counts

// The keyboard controller (IBM's 8042). Where there is none, all bits of its status are set.
enum { PORT_DATA = 0x60, PORT_STATUS = 0x64 };
enum { STATUS_FULL = 1 << 0, STATUS_FROM_MOUSE = 1 << 5, STATUS_NOBODY = 0xff };
enum { RELEASED = 1 << 7 };	// in a scan code; a keyboard's answers to commands have it set, too
#define STALE_MAX 64		// bytes that may be left from before; a port that has more is no keyboard controller

static u32 seconds = 600;

static const char *set_hold(const char *value)
{
	u64 v;

	if (!parse_u64(value, &v) || v > HOLD_MAX)
		return "not a number from 0 to 86400";
	seconds = (u32)v;
	return NULL;
}
CMDLINE_KEY(hold, "0 to 86400 (seconds that the end stays on the screen, unless a key is pressed; default 600)", set_hold);

// The next byte of the keyboard; -1: none waits.
static int scan_code(void)
{
	u8 status = inb(PORT_STATUS);
	u8 data;

	if (status == STATUS_NOBODY || !(status & STATUS_FULL))
		return -1;
	data = inb(PORT_DATA);
	return status & STATUS_FROM_MOUSE ? -1 : data;
}

static bool key_pressed(void)
{
	int code = scan_code();

	return code > 0 && !(code & RELEASED);
}

// Only time that this loop has seen pass counts: a laptop that was suspended still shows the end when it wakes up.
// Where there is no clock yet, or it stands still, reads of a port are counted, which take a microsecond each.
static bool is_over(struct seen *held, u64 polls)
{
	u64 most = seconds * 1000000ull;

	return seen_look(held, SEEN_NS) >= seconds * NSEC_PER_SEC || polls >= (held->looked ? 100 * most : most);
}

static const char *meaning(int status)
{
	static const char *const texts[] = {
		[EXIT_OK] = "success", [EXIT_TESTS_FAILED] = "something has failed, see above", [EXIT_BAD_INPUT] = "refused, see above",
		[EXIT_PANIC] = "panic, see above", [EXIT_INCONCLUSIVE] = "inconclusive",
	};

	return status >= 0 && status < (int)ARRAY_SIZE(texts) ? texts[status] : "unknown";
}

void hold_screen(int status)
{
	struct seen held;
	u64 polls = 0;

	if (!screen_present() || arch_cmdline_override_len() || !seconds)
		return;
	kprintf("# The end: %s. Press a key to switch the machine off; otherwise it goes off after %u s.\n", meaning(status), seconds);
	for (int i = 0; i < STALE_MAX; i++)
		scan_code();
	held = SEEN_FROM_NOW;
	while (!key_pressed() && !is_over(&held, polls++))
		cpu_relax();
}
