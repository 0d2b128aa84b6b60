// SPDX-License-Identifier: MIT
// Lines wrap and scroll in the shadow; then one pass draws what differs. Scrolling by one line at a time would redraw
// the screen for each line, so a scroll makes room for several lines at once.
#include "arch/x86_64/screen_text.h"
#include "arch/x86_64/screen_font.h"
#include "kernel/atomic.h"
#include "kernel/lib.h"

#define TAB 8
#define JUMP_SHARE 8	// a scroll frees an eighth of the rows

struct pen {		// a copy of the position, so that nobody else moves it between a check and a use
	unsigned column, row;
	unsigned first, last;	// rows written to
};

void text_init(struct text_screen *t, void *cells, size_t size, unsigned columns, unsigned rows)
{
	t->columns = MIN(columns, (unsigned)TEXT_COLUMNS_MAX);
	t->stride = ALIGN_UP(t->columns, (unsigned)sizeof(u64));
	t->rows = MIN((size_t)rows, size / 2 / t->stride);
	t->wanted = cells;
	t->shown = t->wanted + t->rows * t->stride;
	t->column = t->row = 0;
	memset(cells, ' ', 2 * t->rows * t->stride);
}

static void scroll(struct text_screen *t, struct pen *p)
{
	unsigned jump = MAX(t->rows / JUMP_SHARE, 1u), kept = t->rows - jump;

	memmove(t->wanted, t->wanted + jump * t->stride, kept * t->stride);
	memset(t->wanted + kept * t->stride, ' ', jump * t->stride);
	p->row = kept;
	p->first = 0;
	p->last = t->rows - 1;
}

// A line that just fits, and the last line's end, move nothing yet.
static void put(struct text_screen *t, struct pen *p, u8 c)
{
	if (p->column >= t->columns) {
		p->column = 0;
		p->row++;
	}
	if (p->row >= t->rows)
		scroll(t, p);
	t->wanted[p->row * t->stride + p->column++] = c;
	p->first = MIN(p->first, p->row);
	p->last = MAX(p->last, p->row);
}

static void put_tab(struct text_screen *t, struct pen *p)
{
	do
		put(t, p, ' ');
	while (p->column % TAB && p->column < t->columns);
}

static void put_newline(struct text_screen *t, struct pen *p)
{
	if (p->row >= t->rows)
		scroll(t, p);
	p->column = 0;
	p->row++;
}

// How many bytes the character at s has; its code goes to *c: ASCII, the ellipsis, or one code for all others.
static size_t next_character(const char *s, size_t n, u8 *c)
{
	static const char ellipsis[] = "\xe2\x80\xa6";
	size_t length = 1;

	*c = (u8)s[0] >= ' ' && (u8)s[0] < FONT_UNKNOWN ? (u8)s[0] : FONT_UNKNOWN;
	if (n >= 3 && !memcmp(s, ellipsis, 3)) {
		*c = FONT_ELLIPSIS;
		return 3;
	}
	if ((u8)s[0] >= 0xc0)		// the rest of a UTF-8 sequence
		while (length < n && length < 4 && ((u8)s[length] & 0xc0) == 0x80)
			length++;
	return length;
}

static void show(struct text_screen *t, unsigned first, unsigned last)
{
	for (unsigned row = first; row <= last; row++) {
		u8 *wanted = t->wanted + row * t->stride, *shown = t->shown + row * t->stride;

		for (unsigned column = 0; column < t->columns; column++) {
			u8 c = READ_ONCE(wanted[column]);

			if (column % sizeof(u64) == 0 && *(u64 *)(wanted + column) == *(u64 *)(shown + column)) {
				column += sizeof(u64) - 1;
			} else if (c != shown[column]) {
				t->draw(column, row, c);
				shown[column] = c;	// afterwards: if stopped in between, the next writer draws it
			}
		}
	}
}

void text_write(struct text_screen *t, const char *s, size_t n)
{
	struct pen p = { READ_ONCE(t->column), READ_ONCE(t->row), t->rows, 0 };

	for (size_t i = 0, length; i < n; i += length) {
		u8 c;

		length = next_character(s + i, n - i, &c);
		if (s[i] == '\n')
			put_newline(t, &p);
		else if (s[i] == '\r')
			p.column = 0;
		else if (s[i] == '\t')
			put_tab(t, &p);
		else
			put(t, &p, c);
	}
	WRITE_ONCE(t->column, p.column);
	WRITE_ONCE(t->row, p.row);
	if (p.first < t->rows)
		show(t, p.first, p.last);
}
