// SPDX-License-Identifier: MIT
// What the fuzz targets share.
#pragma once
#include <stdint.h>
#include <stddef.h>

// What libFuzzer calls (https://llvm.org/docs/LibFuzzer.html).
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);	// libFuzzer's

// A copy of exactly that size, so that AddressSanitizer sees the first byte that is read beyond it.
void *fuzz_exact(const void *data, size_t size);
// What an input must never bring about: print it, with what the kernel has said, and let libFuzzer keep the input.
#define FUZZ_REQUIRE(c) do { if (!(c)) fuzz_failed(__FILE__, __LINE__, #c); } while (0)
_Noreturn void fuzz_failed(const char *file, int line, const char *what);

// Boot the kernel for good; then hand each input to fn in a kernel thread, and wait for its end. fn leaves everything
// as it was: every frame, space and credit is counted after it, and a violation, a warning or a failed EXPECT() is a
// failure.
void fuzz_kernel_boot(void (*fn)(const uint8_t *data, size_t size));
void fuzz_kernel_run(const uint8_t *data, size_t size);

void fuzz_boot(const char *cmdline);	// the kernel, with one CPU, on a pthread of its own
void fuzz_forget_console(void);		// drops what it has printed so far: that explains no later failure
