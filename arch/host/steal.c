// SPDX-License-Identifier: MIT
// A Linux process is not told when its threads are preempted.
#include <arch/steal.h>
#include "kernel/panic.h"

const char *arch_steal_missing(void) { return "a host process has no hypervisor"; }
const char *arch_steal_flush_missing(void) { return arch_steal_missing(); }
void arch_steal_enable(void *record) { BUG_ON(arch_steal_missing()); }

const char *arch_runstate_missing(void) { return arch_steal_missing(); }
bool arch_runstate_enable(void) { return false; }
bool arch_runstate_preempted(unsigned cpu) { return false; }
u64 arch_runstate_since(unsigned cpu) { return 0; }
u64 arch_runstate_stolen_ns(unsigned cpu) { return 0; }
