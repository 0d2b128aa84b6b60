// SPDX-License-Identifier: MIT
// QEMU's firmware configuration device.
#pragma once
#include "kernel/types.h"

// QEMU's opt/quiesce/cmdline unchanged, with a zero behind it; "" if there is none. A line longer than the kernel
// accepts is cut, but still too long.
const char *fwcfg_cmdline(size_t *len);
