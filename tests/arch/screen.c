// SPDX-License-Identifier: MIT
// The text screen and its font, drawn into memory: what is drawn, in which cell and which bytes, and that nothing else
// is touched.
#include "arch/x86_64/screen_pixels.h"
#include "arch/x86_64/screen_text.h"
#include "kernel/lib.h"
#include "lab/test.h"

enum { COLUMNS = 20, ROWS = 16, JUMP = ROWS / 8, STRIDE = 24 };

static struct text_screen text;
static u8 cells[2 * ROWS * STRIDE] __aligned(8);
static u8 drawn[ROWS][COLUMNS];		// what stands on the screen
static unsigned draws;
static bool outside;

static void draw(unsigned column, unsigned row, u8 c)
{
	draws++;
	if (column < COLUMNS && row < ROWS)
		drawn[row][column] = c;
	else
		outside = true;
}

static void begin(void)
{
	text.draw = draw;
	text_init(&text, cells, sizeof(cells), COLUMNS, ROWS);
	memset(drawn, ' ', sizeof(drawn));
	draws = 0;
	outside = false;
}

static void type(const char *s) { text_write(&text, s, strlen(s)); }

// The row holds these characters, and blanks behind them.
static bool row_is(unsigned row, const char *s)
{
	size_t n = strlen(s);

	for (size_t i = 0; i < COLUMNS; i++)
		if (drawn[row][i] != (i < n ? (u8)s[i] : ' '))
			return false;
	return true;
}

TEST(screen, lines_wrap, 0)
{
	begin();
	EXPECT(text.columns == COLUMNS && text.rows == ROWS && !draws);
	type("one\ntwo\n\n");
	type("12345678901234567890\n");		// just fits: no empty row behind it
	type("abcdefghijklmnopqrstuvwxyz\n-");
	EXPECT(row_is(0, "one") && row_is(1, "two") && row_is(2, ""));
	EXPECT(row_is(3, "12345678901234567890") && row_is(4, "abcdefghijklmnopqrst") && row_is(5, "uvwxyz") && row_is(6, "-"));
	EXPECT(draws == 3 + 3 + 20 + 26 + 1 && !outside);
}

TEST(screen, characters, 0)
{
	begin();
	type("a\tb\tc\rA\n");
	type("1234567890123456789\tx\n");	// no tab reaches beyond the line
	type("\x01\x7f\xc3\xbc-\xf0\x9f\x98\x80.\xff\xe2\x80\xa6\xe2\x80\n");
	EXPECT(row_is(0, "A       b       c") && row_is(1, "1234567890123456789") && row_is(2, "x"));
	EXPECT(row_is(3, "\x7f\x7f\x7f-\x7f.\x7f\x80\x7f") && !outside);
}

static unsigned cells_other_than(u8 (*before)[COLUMNS])
{
	unsigned n = 0;

	for (unsigned i = 0; i < sizeof(drawn); i++)
		n += drawn[i / COLUMNS][i % COLUMNS] != before[i / COLUMNS][i % COLUMNS];
	return n;
}

// Lines that scroll past within one write are not drawn; of the lines that stay, only the cells that differ are.
TEST(screen, scrolls_by_drawing_what_changes, 0)
{
	static char lines[100 * 5 + 1];
	u8 before[ROWS][COLUMNS];

	begin();
	for (unsigned i = 0; i < 100; i++)
		ksnprintf(lines + i * 5, 6, "# %02u\n", i);
	text_write(&text, lines, ROWS * 5);
	EXPECT(row_is(0, "# 00") && row_is(ROWS - 1, "# 15"));	// the last newline does not scroll yet
	memcpy(before, drawn, sizeof(before));
	draws = 0;
	type("!");
	EXPECT(row_is(0, "# 02") && row_is(ROWS - JUMP - 1, "# 15") && row_is(ROWS - JUMP, "!") && row_is(ROWS - 1, ""));
	EXPECT_EQ(draws, cells_other_than(before));
	memcpy(before, drawn, sizeof(before));
	draws = 0;
	type("\n");
	type(lines + ROWS * 5);
	EXPECT(row_is(ROWS - 1, "# 99") || row_is(ROWS - JUMP, "# 99"));
	EXPECT(draws == cells_other_than(before) && !outside);
}

// A writer was stopped at any point: the next one still draws within the screen, and its text can be read.
TEST(screen, torn_state, 0)
{
	u64 seed = test_seed();

	for (unsigned i = 0; i < 2000; i++) {
		begin();
		type("something\n");
		text.column = (unsigned)rand_next(&seed) >> rand_next(&seed) % 32;
		text.row = (unsigned)rand_next(&seed) >> rand_next(&seed) % 32;
		type("\r\n\tPANIC\n");
		type("more\n");
		REQUIRE(!outside && row_is(MIN(text.row, (unsigned)ROWS) - 1, "more"));
	}
}

TEST(screen, size_is_cut, 0)
{
	struct text_screen t = { .draw = draw };

	text_init(&t, cells, sizeof(cells), COLUMNS, ROWS + 5);
	EXPECT(t.rows == ROWS && t.stride == STRIDE);
	text_init(&t, cells, sizeof(cells), 1, 1);
	EXPECT(t.columns == 1 && t.rows == 1);
	outside = false;
	text_write(&t, "ab\n\tc\n", 6);
	EXPECT(!outside);
}

#define EDGE 0xa5

static u8 memory[64 * 1024];
static struct pixels pixels;

static u32 pixel_at(const struct framebuffer *f, unsigned x, unsigned y)
{
	u32 v = 0;

	memcpy(&v, memory + (size_t)y * f->pitch + x * ((f->bits + 7u) / 8), (f->bits + 7u) / 8);
	return v;
}

// The letter stands in its cell, in `ink`; all other pixels are black, and nothing beside them is touched.
static bool shows(const struct framebuffer *f, unsigned column, unsigned row, u8 c, u32 ink, unsigned scale)
{
	for (unsigned y = 0; y < f->height; y++)
		for (unsigned x = 0; x < f->width; x++) {
			unsigned i = x / scale - column * FONT_WIDTH, k = y / scale - row * FONT_HEIGHT;
			bool set = i < FONT_WIDTH && k < FONT_HEIGHT && screen_font[c][k] & 0x80 >> i;

			if (pixel_at(f, x, y) != (set ? ink : 0))
				return false;
		}
	for (size_t at = 0; at < sizeof(memory); at++) {
		bool inside = at / f->pitch < f->height && at % f->pitch < f->width * ((f->bits + 7u) / 8);

		if (!inside && memory[at] != EDGE)
			return false;
	}
	return true;
}

static void check_layout(u8 bits, struct channel red, struct channel green, struct channel blue, u32 ink)
{
	struct framebuffer f = {
		.given = true, .type = 1, .bits = bits, .width = 45, .height = 50, .pitch = 45 * ((bits + 7u) / 8) + 12,
		.base = 4096, .red = red, .green = green, .blue = blue,
	};

	memset(memory, EDGE, sizeof(memory));
	REQUIRE(pixels_init(&pixels, &f, memory, 1));
	EXPECT(pixels.columns == 5 && pixels.rows == 3);
	pixels_draw(&pixels, 4, 2, 'g');
	EXPECT(shows(&f, 4, 2, 'g', ink, 1));
	pixels_draw(&pixels, 4, 2, 0xff);	// no such letter
	EXPECT(shows(&f, 4, 2, FONT_UNKNOWN, ink, 1));
	pixels_draw(&pixels, 4, 2, ' ');
	pixels_draw(&pixels, 0, 0, '|');
	EXPECT(shows(&f, 0, 0, '|', ink, 1));
}

TEST(screen, pixel_layouts, 0)
{
#define C(at, bits) (struct channel){ at, bits }
	check_layout(32, C(16, 8), C(8, 8), C(0, 8), 0xd0d0d0);
	check_layout(32, C(20, 10), C(10, 10), C(0, 10), 834u << 20 | 834 << 10 | 834);
	check_layout(24, C(0, 8), C(8, 8), C(16, 8), 0xd0d0d0);
	check_layout(16, C(11, 5), C(5, 6), C(0, 5), 25 << 11 | 51 << 5 | 25);
	check_layout(15, C(10, 5), C(5, 5), C(0, 5), 25 << 10 | 25 << 5 | 25);
}

TEST(screen, dense_screens_have_large_letters, 0)
{
	struct framebuffer f = {
		.given = true, .type = 1, .bits = 15, .width = 70, .height = 100, .pitch = 150, .base = 4096,
		.red = C(10, 5), .green = C(5, 5), .blue = C(0, 5),
	};

	for (unsigned scale = 1; scale <= SCALE_MAX; scale++) {
		memset(memory, EDGE, sizeof(memory));
		REQUIRE(pixels_init(&pixels, &f, memory, scale));
		EXPECT(pixels.columns == 70 / 8 / scale && pixels.rows == 100 / 16 / scale);
		pixels_draw(&pixels, 1, 1, 'A');
		EXPECT(shows(&f, 1, 1, 'A', 25 << 10 | 25 << 5 | 25, scale));
	}
	f.height = 15;
	EXPECT(!pixels_init(&pixels, &f, memory, 1));	// not one row of letters
	EXPECT(pixels_scale(640) == 1 && pixels_scale(1920) == 1 && pixels_scale(2560) == 2 && pixels_scale(7680) == SCALE_MAX);
}
