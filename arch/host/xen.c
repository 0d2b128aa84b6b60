// SPDX-License-Identifier: MIT
// A process has no hypervisor to ask.
#include <arch/xen.h>
#include "kernel/panic.h"

const char *arch_xen_missing(void) { return "the host build has no hypervisor"; }
bool arch_xen_flush(void) { panic("a hypercall without a hypervisor"); }
u64 arch_xen_params(void) { return 0; }
