// SPDX-License-Identifier: MIT
// File descriptors 0 to 2, which are the console. To programs it looks like two pipes, so that a C library buffers as
// it does on Linux when the output goes to a pipe: the same program then prints the same.
#pragma once
#include "kernel/types.h"

struct task;

bool fd_is_open(const struct task *t, u32 fd);
