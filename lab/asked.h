// SPDX-License-Identifier: MIT
// What this kernel has asked of its hypervisor.
#pragma once
#include "kernel/types.h"

// Print what was asked since boot, as a line "# nested: guest …", to be compared with what the hypervisor has counted
// (docs/nested.md). Where there is no hypervisor that flushes, it prints nothing and returns false. Any thread.
bool asked_print(void);
