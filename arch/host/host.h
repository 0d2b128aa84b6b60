// SPDX-License-Identifier: MIT
// Between the files of the host port.
#pragma once
#include "kernel/types.h"

void host_raise(unsigned cpu, u32 bit);		// HOST_*: set it pending and wake the CPU; any pthread
void host_percpu_boot(void);			// CPU 0's copy; the calling pthread becomes CPU 0
void host_become_cpu(unsigned cpu);		// the calling pthread is this CPU from now on
void host_timer_init(void);
void host_symbols_init(void);
void host_ram_init(u64 bytes);
extern unsigned host_cpus_wanted;		// cpus= of the program's arguments
