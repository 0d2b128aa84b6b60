// SPDX-License-Identifier: MIT
// Inputs that need a running kernel. It is booted once, with one CPU; libFuzzer's thread hands each input to a kernel
// thread and waits; between two inputs the kernel does nothing.
#include <semaphore.h>
#include "kernel/mode.h"
#include "kernel/panic.h"
#include "lab/oracle.h"
#include "lab/test.h"
#include "tests/fuzz/fuzz.h"
#include "tests/mm/help.h"

static sem_t given, taken;
static void (*run)(const uint8_t *data, size_t size);
static const uint8_t *input;
static size_t input_size;

static void wait_for(sem_t *sem)
{
	while (sem_wait(sem))
		;	// interrupted by libFuzzer's alarm
}

static void run_input(const struct mm_balance *balance)
{
	u64 violations = oracle_violations(), warnings = warn_count();

	run(input, input_size);
	mm_balance_end(balance);
	if (oracle_violations() != violations || warn_count() != warnings || test_failed())
		panic("something is not as it should be after this input, or has leaked");
}

static int serve(void)
{
	struct mm_balance balance;

	mm_balance_begin(&balance);
	for (;;) {
		sem_post(&taken);
		wait_for(&given);
		run_input(&balance);
		fuzz_forget_console();
	}
}
MODE(fuzz, serve);

void fuzz_kernel_boot(void (*fn)(const uint8_t *data, size_t size))
{
	run = fn;
	sem_init(&given, 0, 0);
	sem_init(&taken, 0, 0);
	fuzz_boot("mode=fuzz hz=1000");
	wait_for(&taken);
}

void fuzz_kernel_run(const uint8_t *data, size_t size)
{
	input = data;
	input_size = size;
	sem_post(&given);
	wait_for(&taken);
}
