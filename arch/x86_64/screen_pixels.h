// SPDX-License-Identifier: MIT
// Letters on a linear framebuffer of any RGB layout. No hardware but the memory that it is given: its tests run on the
// host too.
#pragma once
#include "arch/x86_64/bootinfo.h"
#include "arch/x86_64/screen_font.h"

#define SCALE_MAX 3		// a pixel of the font is so many of the screen wide and high
#define PIXEL_BYTES_MAX 4

struct pixels {
	u8 *base;		// written to, never read
	u32 pitch;
	unsigned columns, rows, scale;
	unsigned words;		// of 8 bytes in a letter's row: bytes of a pixel * scale
	u64 row_of[256][PIXEL_BYTES_MAX * SCALE_MAX];	// what a row of a letter's pixels looks like
};

// `f` has passed framebuffer_check(). Clears the screen. False: not one letter fits.
bool pixels_init(struct pixels *p, const struct framebuffer *f, void *base, unsigned scale);
unsigned pixels_scale(u32 width);	// the scale at which letters are legible, 1 to SCALE_MAX
// The character at that cell; other cells are not touched.
void pixels_draw(const struct pixels *p, unsigned column, unsigned row, u8 c);
