// SPDX-License-Identifier: MIT
// mode=plant: a deliberate error, chosen by test=, to check that the sanitizer of this build reports it, or (test=hang)
// the deterministic scheduler. Without the sanitizer the run ends normally; without the scheduler the hang hangs.
#include "kernel/cmdline.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/mode.h"
#include "kernel/mutex.h"
#include "kernel/panic.h"
#include "kernel/thread.h"

static volatile unsigned beyond = 10, too_far = 40;
static u32 array[8];
static u32 *volatile from = array;	// behind a pointer, so that AddressSanitizer has to find it
static u64 unlocked;

static void overrun(void) { from[beyond] = 1; }
static void shift(void) { log_info("%d", 1 << too_far); }

static int add(void *unused)
{
	for (int i = 0; i < 100; i++) {
		unlocked++;
		cpu_relax();
	}
	return 0;
}

static void race(void) { threads_run_on(&cpus_online, add, NULL); }

// Nothing will ever wake this thread, or any other.
static void hang(void)
{
	struct completion never;

	completion_init(&never);
	wait_for_completion(&never);
}

static int plant(void)
{
	static const struct {
		const char *name;
		void (*fn)(void);
	} errors[] = { { "overrun", overrun }, { "shift", shift }, { "race", race }, { "hang", hang } };

	for (unsigned i = 0; i < ARRAY_SIZE(errors); i++) {
		if (!strcmp(errors[i].name, opt_test)) {
			errors[i].fn();
			return EXIT_OK;
		}
	}
	log_error("mode=plant takes test=overrun, shift, race or hang");
	return EXIT_BAD_INPUT;
}
MODE(plant, plant);
