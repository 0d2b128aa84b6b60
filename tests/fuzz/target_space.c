// SPDX-License-Identifier: MIT
// Sequences of space operations (tests/mm/model/steps.h) on the kernel. The first two bytes choose policy and back-end.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "kernel/panic.h"
#include "lab/mutant.h"
#include "mm/space.h"
#include "tests/fuzz/fuzz.h"
#include "tests/mm/model/steps.h"

#define MOST_STEPS 100
#define HEAD_BYTES 2

static u64 done[STEP_OPS];

static void run_input(const uint8_t *input, size_t size)
{
	static struct model model;
	struct steps st = { .m = &model, .failures = true, .giants = true };
	size_t n = MIN(size - HEAD_BYTES, (size_t)(MOST_STEPS * STEP_BYTES));

	model_reset(&model);
	st.s = space_create_with(steps_policy(input[0]), steps_backend(input[1]));
	BUG_ON(!st.s);
	space_attach(st.s);
	steps_run(&st, input + HEAD_BYTES, n);
	steps_end(&st);
	space_detach();
	space_put(st.s);
	for (unsigned i = 0; i < STEP_OPS; i++)
		done[i] += st.done[i];
}

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
	fuzz_kernel_boot(run_input);
	if (mutant)
		set_mutant(mutant);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < HEAD_BYTES + STEP_BYTES)
		return -1;
	fuzz_kernel_run(data, size);
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
