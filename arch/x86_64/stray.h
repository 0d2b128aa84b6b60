// SPDX-License-Identifier: MIT
// Interrupts on vectors that nobody uses.
#pragma once

struct trap_frame;

void stray_interrupt(struct trap_frame *f);	// the handler of every vector that has no other: counts, names, acknowledges
