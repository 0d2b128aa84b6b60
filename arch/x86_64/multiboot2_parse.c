// SPDX-License-Identifier: MIT
// Multiboot2 boot information (specification 2.0, 3.6):
//
//   u32 total_size, reserved | tag | tag | … | end tag        each tag: u32 type, size | payload, padded to 8 bytes
//
// A function of a buffer only, so that tests can give it anything. Every length is checked before its contents are
// read.
#include "arch/x86_64/multiboot2_parse.h"
#include "arch/x86_64/bootinfo.h"
#include "kernel/lib.h"

enum {
	TAG_END = 0, TAG_CMDLINE = 1, TAG_MODULE = 3, TAG_MEMORY_MAP = 6, TAG_FRAMEBUFFER = 8, TAG_EFI64 = 12, TAG_RSDP_OLD = 14,
	TAG_RSDP_NEW = 15, TAG_EFI32 = 11,
};

struct info_header {
	u32 total_size, reserved;
};
struct tag {
	u32 type, size;	// of the whole tag without padding
};
struct memory_map {
	struct tag tag;
	u32 entry_size, entry_version;
};
struct memory_entry {
	u64 base, length;
	u32 type, reserved;
};
struct module_tag {
	struct tag tag;
	u32 start, end;	// physical; behind them its command line, or nothing
};
struct framebuffer_tag {
	struct tag tag;
	u64 base;
	u32 pitch, width, height;
	u8 bits, type, reserved[2];	// the specification says one reserved byte; GRUB, and hence all, have two
	struct channel red, green, blue;	// FRAMEBUFFER_RGB only
};
enum { FRAMEBUFFER_RGB = 1, FRAMEBUFFER_TEXT = 2 };
_Static_assert(offsetof(struct framebuffer_tag, red) == 32 && sizeof(struct channel) == 2, "Multiboot2 3.6.12");
_Static_assert(sizeof(struct memory_map) == 16 && sizeof(struct memory_entry) == 24, "Multiboot2 3.6.8");

static const char *parse_cmdline(const struct tag *t, struct boot_info *out)
{
	const char *s = (const char *)(t + 1);
	size_t max = t->size - sizeof(*t), n = strnlen(s, max);

	if (n == max)
		return "command line tag without a terminating zero";
	if (n >= sizeof(out->cmdline))
		return "command line longer than 2047 bytes";
	memcpy(out->cmdline, s, n + 1);
	return NULL;
}

static const char *parse_memory_map(const struct tag *t, struct boot_info *out)
{
	const struct memory_map *m = (const struct memory_map *)t;
	size_t left;
	const char *p;

	if (t->size < sizeof(*m))
		return "memory map tag too short";
	if (m->entry_size < sizeof(struct memory_entry) || m->entry_size % 8)
		return "memory map with a bad entry size";
	left = t->size - sizeof(*m);
	if (left % m->entry_size)
		return "memory map that ends within an entry";
	for (p = (const char *)(m + 1); left; p += m->entry_size, left -= m->entry_size) {
		const struct memory_entry *e = (const struct memory_entry *)p;

		if (!boot_add_memory(out, e->base, e->length, e->type == BOOT_MEMORY_RAM))
			return "memory map with more than 512 entries";
	}
	return NULL;
}

static const char *parse_module_line(const struct module_tag *m, struct boot_info *out)
{
	const char *s = (const char *)(m + 1);
	size_t max = m->tag.size - sizeof(*m), n = strnlen(s, max);

	if (!max)
		return NULL;
	if (n == max)
		return "module whose command line has no terminating zero";
	if (n >= sizeof(out->module_line))
		return "module whose command line is longer than 2047 bytes";
	memcpy(out->module_line, s, n + 1);
	return NULL;
}

static const char *parse_module(const struct tag *t, struct boot_info *out)
{
	const struct module_tag *m = (const struct module_tag *)t;

	if (t->size < sizeof(*m))
		return "module tag too short";
	if (m->start > m->end)
		return "module that ends before it begins";
	if (!boot_add_module(out, m->start, m->end))
		return "more than 32 modules";
	return out->nr_modules == 1 ? parse_module_line(m, out) : NULL;
}

// The ACPI code checks what the root pointer says; here only its size is checked. The newer structure wins.
static const char *parse_rsdp(const struct tag *t, struct boot_info *out)
{
	unsigned want = t->type == TAG_RSDP_NEW ? 36 : 20;

	if (t->size - sizeof(*t) < want)
		return "ACPI root pointer tag too short";
	if (want > out->rsdp_len) {
		memcpy(out->rsdp, t + 1, want);
		out->rsdp_len = want;
	}
	return NULL;
}

// framebuffer_check() checks the values.
static const char *parse_framebuffer(const struct tag *t, struct boot_info *out)
{
	const struct framebuffer_tag *f = (const struct framebuffer_tag *)t;
	struct framebuffer *to = &out->framebuffer;

	if (t->size < offsetof(struct framebuffer_tag, red) ||
	    (f->type == FRAMEBUFFER_RGB && t->size < offsetof(struct framebuffer_tag, blue) + sizeof(f->blue)))
		return "framebuffer tag too short";
	*to = (struct framebuffer){
		.given = true, .text = f->type == FRAMEBUFFER_TEXT, .type = f->type, .bits = f->bits,
		.pitch = f->pitch, .width = f->width, .height = f->height, .base = f->base,
	};
	if (f->type == FRAMEBUFFER_RGB) {
		to->red = f->red;
		to->green = f->green;
		to->blue = f->blue;
	}
	return NULL;
}

static const char *check_mode(const struct framebuffer *f)
{
	if (f->text)
		return f->bits == 16 ? NULL : "text of other than two bytes a cell";
	if (f->type != FRAMEBUFFER_RGB)
		return "its pixels are indexes of a palette";
	if (f->bits < 15 || f->bits > 32)
		return "pixels of other than 15 to 32 bits";
	for (const struct channel *c = &f->red; c <= &f->blue; c++)
		if (!c->bits || c->at + c->bits > f->bits)
			return "colours beyond the pixel";
	return NULL;
}

const char *framebuffer_check(const struct boot_info *b, u64 phys_end)
{
	const struct framebuffer *f = &b->framebuffer;
	const char *error = check_mode(f);
	u64 bytes = framebuffer_bytes(f);

	if (error)
		return error;
	if (!f->width || !f->height || f->pitch / ((f->bits + 7u) / 8) < f->width)
		return "its rows are longer than its pitch";
	if (!f->base || bytes > phys_end || f->base > phys_end - bytes)
		return "it lies beyond the processor's physical addresses";
	for (unsigned i = 0; i < b->nr_memory; i++)
		if (b->memory[i].usable && f->base < b->memory[i].end && b->memory[i].start < f->base + bytes)
			return "it lies in usable memory";
	return NULL;
}

static const char *parse_tag(const struct tag *t, struct boot_info *out)
{
	switch (t->type) {
	case TAG_CMDLINE:
		return parse_cmdline(t, out);
	case TAG_MODULE:
		return parse_module(t, out);
	case TAG_MEMORY_MAP:
		return parse_memory_map(t, out);
	case TAG_RSDP_OLD:
	case TAG_RSDP_NEW:
		return parse_rsdp(t, out);
	case TAG_FRAMEBUFFER:
		return parse_framebuffer(t, out);
	case TAG_EFI32:
	case TAG_EFI64:
		out->uefi = true;
		return NULL;
	default:
		return NULL;
	}
}

const char *multiboot2_parse(const void *buf, size_t len, struct boot_info *out)
{
	const struct info_header *h = buf;
	size_t total, at = sizeof(*h);

	*out = (struct boot_info){ 0 };
	if ((uintptr_t)buf % 8)
		return "boot information is not aligned";
	if (len < sizeof(*h))
		return "boot information too short for its header";
	total = h->total_size;
	if (total > len)
		return "boot information longer than its buffer";
	while (total - at >= sizeof(struct tag) && at <= total) {
		const struct tag *t = (const struct tag *)((const char *)buf + at);
		const char *error;

		if (t->size < sizeof(*t))
			return "boot information tag shorter than its header";
		if (t->size > total - at)
			return "boot information tag beyond the end";
		if (t->type == TAG_END)
			return out->nr_memory ? NULL : "no memory map in the boot information";
		error = parse_tag(t, out);
		if (error)
			return error;
		at += ALIGN_UP((size_t)t->size, 8);
	}
	return "boot information without an end tag";
}
