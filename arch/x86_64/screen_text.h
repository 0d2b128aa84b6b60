// SPDX-License-Identifier: MIT
// The text on a screen, as cells in memory: the character wanted in each, and the one shown there. The screen itself is
// written to, cell by cell, and never read. No hardware here: its tests run on the host too.
#pragma once
#include "kernel/types.h"

#define TEXT_COLUMNS_MAX 320
#define TEXT_ROWS_MAX 160

struct text_screen {
	unsigned columns, rows;
	unsigned stride;	// bytes from row to row: columns, rounded up to 8
	u8 *wanted, *shown;	// rows * stride bytes each, 8-aligned; character codes (screen_font.h)
	unsigned column, row;	// where the next character goes; columns, rows: only after a wrap, a scroll
	void (*draw)(unsigned column, unsigned row, u8 c);
};

// All cells blank, as the caller has made the screen. `cells`: 8-aligned, `size` bytes; as many columns and rows as are
// asked for and as fit in. Draws nothing.
void text_init(struct text_screen *t, void *cells, size_t size, unsigned columns, unsigned rows);
// Add text and draw each cell that has changed, once, however far the text scrolls by. No lock: one caller at a time.
// If an earlier one was stopped in the middle, or if two are in here after all, the worst is a wrong character.
void text_write(struct text_screen *t, const char *s, size_t n);
