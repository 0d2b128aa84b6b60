// SPDX-License-Identifier: MIT
// What the port asks of Linux. os.c alone includes the system's headers.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>

void *os_reserve(size_t bytes);				// zeroed memory, backed when touched; NULL: refused
bool os_allow(void *at, size_t bytes, bool allowed);	// may these pages of os_reserve() be accessed? False: refused
void *os_stack(size_t bytes);				// the same with an inaccessible page below
uint64_t os_ns(void);					// since the program's start
uint64_t os_started_ns(void);				// when that was, since 1970
void os_yield(void);					// let another pthread run
void os_sleep_until(uint64_t ns);
void os_futex_wait(uint32_t *word, uint32_t expected);	// may return early
void os_futex_wait_until(uint32_t *word, uint32_t expected, uint64_t ns);	// also after os_ns() reaches `ns`
void os_futex_wake(uint32_t *word);
void os_thread(void (*fn)(void *), void *arg);		// a detached pthread; exits the program if it cannot be created
void os_write(const char *s, size_t n);
int os_getc(void);					// -1: nothing to read
_Noreturn void os_exit(int status);
void os_catch_faults(void (*fn)(int sig, uintptr_t pc, uintptr_t addr, uintptr_t fp));	// SIGSEGV and its kind
void os_fault_stack(void);				// each pthread that wants its faults caught
const void *os_map_file(const char *path, size_t *size);	// read-only; NULL: cannot be mapped
const void *os_map_self(size_t *size);			// the program's own file, likewise
uintptr_t os_load_bias(void);				// where the program lies, less where it was linked
