// SPDX-License-Identifier: MIT
// The program for mode=run.
#pragma once

// Find it, and get it into RAM: when the direct map covers all RAM, and before page_init().
void program_take(void);
