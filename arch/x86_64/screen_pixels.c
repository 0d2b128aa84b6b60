// SPDX-License-Identifier: MIT
// A letter's row of 8 pixels takes a whole number of 8-byte words in every layout. These words are computed once for
// each of the 256 possible rows, and drawing only copies them.
#include "arch/x86_64/screen_pixels.h"
#include "kernel/lib.h"

typedef u64 __attribute__((may_alias, aligned(1))) word;	// rows may begin anywhere

#define INK 0xd0		// of 255, of each colour: light grey on black
#define WIDE 1280		// so many pixels to each unit of the scale: letters stay legible on a dense screen

static u32 ink_of(const struct channel *c)
{
	return (u32)((u64)INK * ((1ull << c->bits) - 1) / 0xff) << c->at;
}

static void make_rows(struct pixels *p, unsigned bytes, u32 ink)
{
	for (unsigned bits = 0; bits < ARRAY_SIZE(p->row_of); bits++) {
		u8 *to = (u8 *)p->row_of[bits];

		for (unsigned x = 0; x < FONT_WIDTH * p->scale; x++, to += bytes) {
			u32 pixel = bits & 0x80 >> x / p->scale ? ink : 0;

			memcpy(to, &pixel, bytes);
		}
	}
}

unsigned pixels_scale(u32 width) { return MIN(MAX(width / WIDE, 1u), (unsigned)SCALE_MAX); }

bool pixels_init(struct pixels *p, const struct framebuffer *f, void *base, unsigned scale)
{
	unsigned bytes = (f->bits + 7u) / 8;

	p->scale = scale;
	p->columns = f->width / (FONT_WIDTH * p->scale);
	p->rows = f->height / (FONT_HEIGHT * p->scale);
	if (!p->columns || !p->rows)
		return false;
	p->base = base;
	p->pitch = f->pitch;
	p->words = bytes * p->scale;
	make_rows(p, bytes, ink_of(&f->red) | ink_of(&f->green) | ink_of(&f->blue));
	for (u32 y = 0; y < f->height; y++)
		memset(p->base + (size_t)y * p->pitch, 0, (size_t)f->width * bytes);
	return true;
}

void pixels_draw(const struct pixels *p, unsigned column, unsigned row, u8 c)
{
	const u8 *letter = screen_font[c < FONT_CHARACTERS ? c : FONT_UNKNOWN];
	u8 *to = p->base + (size_t)row * FONT_HEIGHT * p->scale * p->pitch + (size_t)column * p->words * sizeof(u64);

	for (unsigned y = 0; y < FONT_HEIGHT * p->scale; y++, to += p->pitch) {
		const u64 *from = p->row_of[letter[y / p->scale]];

		for (unsigned i = 0; i < p->words; i++)
			((volatile word *)to)[i] = from[i];
	}
}
