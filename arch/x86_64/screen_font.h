// SPDX-License-Identifier: MIT
// The letters: GNU Unifont, 8 pixels by 16, made into an array by tools/font.py from the file that GRUB brings along.
#pragma once
#include "kernel/types.h"

#define FONT_WIDTH 8
#define FONT_HEIGHT 16
#define FONT_CHARACTERS 129	// ASCII (with one code for all that has no letter here), and the ellipsis
#define FONT_UNKNOWN 0x7f
#define FONT_ELLIPSIS 0x80

extern const u8 screen_font[FONT_CHARACTERS][FONT_HEIGHT];	// a row of pixels a byte, the leftmost its highest bit
