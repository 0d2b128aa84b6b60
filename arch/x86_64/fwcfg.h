// SPDX-License-Identifier: MIT
// QEMU's firmware configuration device.
#pragma once
#include "kernel/types.h"

// QEMU's opt/quiesce/cmdline as it is, a zero behind it; "" if none. Of more than the kernel accepts, what shows that
// it is too long.
const char *fwcfg_cmdline(size_t *len);
