// SPDX-License-Identifier: MIT
// The thief: robs a CPU of its processor, at any instruction, interrupts off or not, by an NMI whose handler plays the
// hypervisor's part in the protocol of kernel/steal.h. Out of RCU's sight, as a robbed vCPU is. Works where steal=thief.
#pragma once
#include "kernel/types.h"

// What a theft means to others: called on the robbed CPU, in the NMI, just before it is away and when it is back. Checking
// builds only; registered where it is written.
typedef void theft_handler_fn(bool begins);
#if CHECK
#define THEFT_HANDLER(fn) REGISTER(theft_handlers, fn)
#else
#define THEFT_HANDLER(fn) struct thief
#endif

bool thief_works(void);			// is the thief the owner of the steal-time records?
// Freeze a CPU for so long (0: until thief_release()). For the own CPU the theft happens before the call returns, and so
// exactly there; for another one soon. Not while that CPU is robbed already or about to be. Any context but NMI. A CPU
// must not rob itself for longer than somebody else is there to release it; and who releases must not, meanwhile, need a
// lock that the robbed CPU may hold: rob for a limited time, or one that keeps interrupts off, or keep them off oneself.
void thief_rob(unsigned cpu, u64 ns);
void thief_release(unsigned cpu);	// let it go on now. Any context
void thief_release_in(unsigned cpu, u64 ns);	// … or so much later, counted from now. It is robbed until released
bool thief_robs(unsigned cpu);		// is it frozen at this instant?
void thief_wait_robbed(unsigned cpu);	// until it is, by a theft that lasts until released (spin, watchdog)
void thief_wait_back(unsigned cpu);	// until it runs again (spin, watchdog)
u64 thief_stolen_ns(unsigned cpu);	// so far
