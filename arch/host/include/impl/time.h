// SPDX-License-Identifier: MIT
// A cycle is a nanosecond of CLOCK_MONOTONIC.
#pragma once

static __always_inline u64 cycles(void) { return arch_ns(); }
