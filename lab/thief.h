// SPDX-License-Identifier: MIT
// The thief: preempts a CPU as a hypervisor preempts a vCPU, at any instruction, interrupts off or not, by an NMI whose
// handler plays the hypervisor's part in the protocol of kernel/steal.h. RCU does not see that NMI, as it does not see
// that a vCPU is preempted. Works where steal=thief.
#pragma once
#include "kernel/types.h"

// Called on the preempted CPU, in the NMI: just before it stops running, and when it runs again. Checking builds only;
// registered where it is written.
typedef void theft_handler_fn(bool begins);
#if CHECK
#define THEFT_HANDLER(fn) REGISTER(theft_handlers, fn)
#else
#define THEFT_HANDLER(fn) struct thief
#endif

bool thief_works(void);			// is the thief the owner of the steal-time records?
// Preempt a CPU for so long (0: until thief_release()). The own CPU is preempted before the call returns, and so
// exactly there; another CPU soon after. Not while that CPU is preempted already or about to be. Any context but NMI. A
// CPU that preempts itself without limit needs another CPU that releases it. The CPU that is to release must not need a
// lock that the preempted CPU may hold: preempt for a limited time, or preempt a CPU that keeps interrupts off, or keep
// interrupts off on the CPU that releases.
void thief_rob(unsigned cpu, u64 ns);
void thief_release(unsigned cpu);	// let it go on now. Any context
void thief_release_in(unsigned cpu, u64 ns);	// … or so long from now. For a CPU that is preempted without limit
bool thief_robs(unsigned cpu);		// is it preempted at this instant?
void thief_wait_robbed(unsigned cpu);	// wait until it is, if thief_rob() set no limit (spin, watchdog)
void thief_wait_back(unsigned cpu);	// wait until it runs again (spin, watchdog)
u64 thief_stolen_ns(unsigned cpu);	// its steal time so far
