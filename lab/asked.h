// SPDX-License-Identifier: MIT
// What this kernel has asked of its hypervisor.
#pragma once
#include "kernel/types.h"

// Since boot, as a "# nested: guest" line, for the comparison with what the hypervisor has counted (docs/nested.md). False,
// and no line: no hypervisor here is asked for a flush. Any thread.
bool asked_print(void);
