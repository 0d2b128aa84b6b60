// SPDX-License-Identifier: MIT
// The screen, a sink of the console (console.c): the framebuffer or the EGA text mode that the boot loader hands over.
#pragma once
#include "kernel/types.h"

// From boot_info, once that is read; the first page tables reach what lies below 4 GiB. If there is a screen that
// cannot be used, a warning says so, and the run goes on without it.
void screen_init(void);
void screen_map(void);		// once more, when the kernel's own tables are loaded, which map it elsewhere
void screen_write(const char *s, size_t n);	// any context; one caller at a time, which waits for nothing
bool screen_present(void);	// does text appear on a screen?
