// SPDX-License-Identifier: MIT
// Contract: a hypervisor that keeps steal-time records (kernel/steal.h), in KVM's layout and by KVM's protocol.
#pragma once
#include "kernel/types.h"

const char *arch_steal_missing(void);		// NULL: it offers the records; otherwise why not
const char *arch_steal_flush_missing(void);	// NULL: it also honours STEAL_FLUSH_TLB in them; otherwise why not
// From now on the hypervisor writes this CPU's record: 64 bytes, aligned to 64, in the direct map, never freed.
void arch_steal_enable(void *record);
