// SPDX-License-Identifier: MIT
// A thread whose program spins in user mode until it is told to go, and does nothing else.
#pragma once
#include "tests/proc/bare.h"

#define SPINNER_TURNS BARE_DATA		// 4 bytes: rises
#define SPINNER_GO (BARE_DATA + 64)	// 8 bytes: not 0: make a system call

struct spinner {
	struct bare bare;
	struct space *s;
	struct thread *thread;
	enum user_exit why;
};
extern struct spinner spinner;

// It is in user mode on that CPU, and the calling thread in its space. False: the test has failed.
bool spinner_start(unsigned cpu);
u32 spinner_turns(void);
enum user_exit spinner_end(void);	// waits for the end of its program: why
