// SPDX-License-Identifier: MIT
// What each CPU needs before it runs programs.
#pragma once

void user_init_cpu(void);	// SYSCALL leads to its entry, SYSENTER nowhere
