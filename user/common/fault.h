// SPDX-License-Identifier: MIT
// Accesses that may fault, and what the fault's signal said. A handler for SIGSEGV and SIGBUS is installed by
// faults_catch(); threads fault independently of each other.
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct fault {
	int signal;	// 0: there was no fault
	int code;	// si_code
	uintptr_t addr;	// si_addr
};

void faults_catch(void);
struct fault fault_read(const volatile void *p, uint64_t *value);
struct fault fault_write(volatile void *p, uint64_t value);
struct fault fault_call(const void *p);		// p: code that returns at once
// "none", or "SIGSEGV MAPERR" …
const char *fault_name(struct fault f);
