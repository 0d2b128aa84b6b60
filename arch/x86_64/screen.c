// SPDX-License-Identifier: MIT
// What becomes of the text on its way to the screen:
//
//   screen_write() -> text_write(): cells in memory -> draw_pixels() -> pixels_draw() -> linear framebuffer
//                     (screen_text.c)               or draw_text()                    -> EGA text memory
#include "arch/x86_64/screen.h"
#include "arch/x86_64/bootinfo.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/io.h"
#include "arch/x86_64/kmap.h"
#include "arch/x86_64/memmap.h"
#include "arch/x86_64/multiboot2_parse.h"
#include "arch/x86_64/screen_pixels.h"
#include "arch/x86_64/screen_text.h"
#include "kernel/atomic.h"
#include "kernel/cmdline.h"
#include "kernel/lib.h"
#include "kernel/log.h"

#define EARLY_END (4ull << 30)		// what the first page tables map (boot/entry.asm)
#define EGA_GREY 0x0700			// light grey on black, beside the character
enum { CRTC_INDEX = 0x3d4, CRTC_DATA = 0x3d5, CRTC_CURSOR_START = 0x0a, CURSOR_OFF = 0x20 };
// Nested writers: an owner of the printer that was stopped in mid-line, and an NMI in the panic. More can only be page
// faults of this very code.
#define NESTED_MAX 4

static struct text_screen text;
static struct pixels pixels;
static volatile u16 *ega;
static u8 cells[2 * TEXT_COLUMNS_MAX * TEXT_ROWS_MAX] __aligned(8);
static bool usable, open;	// the loader has given a usable screen; it can be written to by now
static u32 nested;

static void draw_pixels(unsigned column, unsigned row, u8 c) { pixels_draw(&pixels, column, row, c); }

static void draw_text(unsigned column, unsigned row, u8 c)
{
	// The text modes' own letters are code page 437, which is ASCII where this is.
	ega[row * (boot_info.framebuffer.pitch / sizeof(*ega)) + column] = EGA_GREY | (c < FONT_UNKNOWN ? c : '?');
}

// GRUB reports a text mode even where there is no display adapter; nothing keeps what is written there. This is the
// only time that a screen is read, before it is used.
static bool keeps_text(volatile u16 *cell)
{
	*cell = EGA_GREY | 'Q';
	if (*cell != (EGA_GREY | 'Q'))
		return false;
	*cell = EGA_GREY | ' ';
	return *cell == (EGA_GREY | ' ');
}

static bool open_text(const struct framebuffer *f)
{
	if (!keeps_text(ega))
		return false;
	outb(CRTC_INDEX, CRTC_CURSOR_START);
	outb(CRTC_DATA, CURSOR_OFF);
	text.draw = draw_text;
	text_init(&text, cells, sizeof(cells), f->width, f->height);
	for (unsigned row = 0; row < text.rows; row++)
		for (unsigned column = 0; column < text.columns; column++)
			draw_text(column, row, ' ');
	return true;
}

static bool open_pixels(const struct framebuffer *f, void *base)
{
	if (!pixels_init(&pixels, f, base, pixels_scale(f->width)))
		return false;
	text.draw = draw_pixels;
	text_init(&text, cells, sizeof(cells), pixels.columns, pixels.rows);
	return true;
}

// The screen's memory is at `base` now.
static void reach_at(void *base)
{
	const struct framebuffer *f = &boot_info.framebuffer;

	if (f->text)
		ega = base;
	else
		pixels.base = base;
	if (!open)
		open = usable = f->text ? open_text(f) : open_pixels(f, base);
}

void screen_init(void)
{
	const struct framebuffer *f = &boot_info.framebuffer;
	const char *error;

	if (!f->given)
		return;
	error = framebuffer_check(&boot_info, cpu_phys_end());
	if (!error && ram_in_image(f->base, framebuffer_bytes(f)))
		error = "it lies in the kernel's image";
	if (error) {
		log_warn("screen: not used: %s", error);
		return;
	}
	usable = true;
	if (f->base + framebuffer_bytes(f) <= EARLY_END)
		reach_at(phys_to_virt(f->base));
}

void screen_map(void)
{
	const struct framebuffer *f = &boot_info.framebuffer;
	void *window;

	if (!usable)
		return;
	window = f->text ? arch_map_mmio(f->base, framebuffer_bytes(f)) : arch_map_framebuffer(f->base, framebuffer_bytes(f));
	if (!window) {
		open = usable = false;
		return;
	}
	if (open)
		cpu_flush_caches();	// the MTRRs alone decided until now, so it may be cached (SDM vol. 3, 11.12.4)
	reach_at(window);
}

bool screen_present(void) { return open; }

static const char *set_screen(const char *value)
{
	if (!strcmp(value, "off"))
		open = false;
	else if (strcmp(value, "auto"))
		return "unknown";
	return NULL;
}
CMDLINE_KEY(screen, "auto|off (off: nothing more is written to the screen; default auto)", set_screen);

// No lock: only the printer's owner is in here, or in a panic the speaker, in whatever state the owner has left it.
void screen_write(const char *s, size_t n)
{
	if (!open || READ_ONCE(nested) >= NESTED_MAX)
		return;
	fetch_add(&nested, 1u);
	text_write(&text, s, n);
	fetch_sub(&nested, 1u);	// a LOCKed instruction: it empties the write-combining buffers, too (SDM vol. 3, 11.3.1)
}
