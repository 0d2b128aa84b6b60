// SPDX-License-Identifier: MIT
// Sequences of space operations (tests/mm/model/steps.h) on the kernel, which was booted once, with one CPU. The first
// two bytes choose policy and back-end. libFuzzer's thread hands each input to a kernel thread and waits; between two
// inputs the kernel does nothing.
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "kernel/mode.h"
#include "lab/mutant.h"
#include "kernel/panic.h"
#include "lab/test.h"
#include "lab/oracle.h"
#include "tests/fuzz/fuzz.h"
#include "tests/mm/help.h"
#include "tests/mm/model/steps.h"

#define MOST_STEPS 100
#define HEAD_BYTES 2

static sem_t given, taken;
static const uint8_t *input;
static size_t input_size;
static u64 done[STEP_OPS];

static void wait_for(sem_t *sem)
{
	while (sem_wait(sem))
		;	// interrupted by libFuzzer's alarm
}

static void run_input(const struct mm_balance *balance)
{
	static struct model model;
	struct steps st = { .m = &model, .failures = true, .giants = true };
	u64 violations = oracle_violations(), warnings = warn_count();
	size_t n = MIN(input_size - HEAD_BYTES, (size_t)(MOST_STEPS * STEP_BYTES));

	model_reset(&model);
	st.s = space_create_with(steps_policy(input[0]), steps_backend(input[1]));
	BUG_ON(!st.s);
	space_attach(st.s);
	steps_run(&st, input + HEAD_BYTES, n);
	steps_end(&st);
	space_detach();
	space_put(st.s);
	mm_balance_end(balance);
	for (unsigned i = 0; i < STEP_OPS; i++)
		done[i] += st.done[i];
	if (oracle_violations() != violations || warn_count() != warnings || test_failed())
		panic("the space differs from its model, or something has leaked");
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

static void print_done(void)
{
	fprintf(stderr, "steps with effect:");
	for (unsigned i = 0; i < STEP_OPS; i++)
		fprintf(stderr, " %s %llu", steps_name(i), (unsigned long long)done[i]);
	fprintf(stderr, "\n");
}

// FUZZ_MUTANT=name: with that step of mm/ broken (lab/mutant.h) the fuzzer has to find something.
static void set_mutant(const char *name)
{
	if (!mutant_turn(name, true)) {
		fprintf(stderr, "FUZZ_MUTANT=%s: no mutant has that name\n", name);
		exit(1);
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *mutant = getenv("FUZZ_MUTANT");

	if (getenv("FUZZ_STEPS"))
		atexit(print_done);
	sem_init(&given, 0, 0);
	sem_init(&taken, 0, 0);
	fuzz_boot("mode=fuzz hz=1000");
	wait_for(&taken);
	if (mutant)
		set_mutant(mutant);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < HEAD_BYTES + STEP_BYTES)
		return -1;
	input = data;
	input_size = size;
	sem_post(&given);
	wait_for(&taken);
	return 0;
}

// Moves whole steps about, besides libFuzzer's own changes of bytes.
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
	size_t steps = size > HEAD_BYTES ? (size - HEAD_BYTES) / STEP_BYTES : 0;
	uint8_t *body = data + HEAD_BYTES, *at, step[STEP_BYTES];

	if (steps < 2 || seed % 4 == 0 || size + STEP_BYTES > max)
		return LLVMFuzzerMutate(data, size, max);
	at = body + seed / 16 % steps * STEP_BYTES;
	memcpy(step, body + seed / 4096 % steps * STEP_BYTES, STEP_BYTES);
	if (seed % 16 < 6) {			// repeat a step elsewhere, with one byte changed
		memmove(at + STEP_BYTES, at, size - (size_t)(at - data));
		memcpy(at, step, STEP_BYTES);
		at[seed >> 24 & 3] ^= 1 << (seed >> 26 & 7);
		return size + STEP_BYTES;
	}
	if (seed % 16 < 9) {			// take one out
		memmove(at, at + STEP_BYTES, size - (size_t)(at - data) - STEP_BYTES);
		return size - STEP_BYTES;
	}
	if (seed % 16 < 12) {			// another one in its place
		seed *= 0x9e3779b1;
		memcpy(at, &seed, STEP_BYTES);
	} else {
		LLVMFuzzerMutate(at, STEP_BYTES, STEP_BYTES);
	}
	return size;
}
