// SPDX-License-Identifier: MIT
// For tests in which the thief preempts CPUs.
#pragma once
#include "lab/test.h"
#include "lab/thief.h"

#define NEEDS_THE_THIEF() do { if (!thief_works()) SKIP("the thief does not own the steal-time records"); } while (0)
