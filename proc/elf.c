// SPDX-License-Identifier: MIT
// See elf.h. Offsets and sizes are checked by subtraction, so that no sum can wrap.
#include "proc/elf.h"
#include "kernel/lib.h"
#include "proc/elf_format.h"

#define MOVABLE_MAX (16ull << 40)
#define BIAS_BASE 0x555555554000ull	// two thirds of the user half, as Linux has it
#define BIAS_PAGES (1ull << 28)
_Static_assert(BIAS_BASE + BIAS_PAGES * PAGE_SIZE + ELF_ALIGN_MAX + MOVABLE_MAX <= PROGRAM_END,
	       "wherever it begins, it fits");

static const char *check_header(const struct elf_header *h)
{
	if (memcmp(h->ident, ELF_MAGIC, 4))
		return "not an ELF file";
	if (h->ident[ELF_CLASS] != ELF_CLASS_64)
		return "ELF: not a 64-bit file";
	if (h->ident[ELF_DATA] != ELF_DATA_LITTLE)
		return "ELF: not little-endian";
	if (h->machine != ELF_MACHINE_X86_64)
		return "ELF: not for x86-64";
	if (h->type != ELF_TYPE_EXEC && h->type != ELF_TYPE_DYN)
		return "ELF: not an executable";
	if (h->phentsize != sizeof(struct elf_program_header))
		return "ELF: program headers of a wrong size";
	if (!h->phnum)
		return "ELF: no program headers";
	if (h->phnum > ELF_HEADERS_MAX)
		return "ELF: more than 128 program headers";
	return NULL;
}

// Linux on x86: whatever may be done with a page, it may be read.
static u8 prot_of(u32 flags)
{
	u32 any = flags & (ELF_FLAG_R | ELF_FLAG_W | ELF_FLAG_X);

	return (u8)((any ? PROT_R : 0) | (flags & ELF_FLAG_W ? PROT_W : 0) | (flags & ELF_FLAG_X ? PROT_X : 0));
}

static const char *check_align(const struct elf_program_header *p)
{
	if (p->align & (p->align - 1))
		return "ELF: an alignment that is no power of two";
	if (p->align > ELF_ALIGN_MAX)
		return "ELF: an alignment of more than 1 GiB";
	if (p->filesz && (p->offset - p->vaddr) % PAGE_SIZE)
		return "ELF: a segment lies differently in its page than in the file";
	return NULL;
}

// A movable image's own addresses begin anywhere, usually at 0; elf_bias() sees to the limits.
static const char *check_range(const struct elf_program_header *p, u64 size, bool movable)
{
	u64 lowest = movable ? 0 : PROGRAM_LOWEST;

	if (p->filesz > p->memsz)
		return "ELF: a segment that is longer in the file than in memory";
	if (!elf_holds(size, p->offset, p->filesz))
		return "ELF: a segment lies beyond the end of the file";
	if (p->vaddr < lowest)
		return "ELF: a segment below 64 KiB";
	if (!elf_holds(PROGRAM_END - lowest, p->vaddr - lowest, p->memsz))
		return "ELF: a segment lies outside the program's part of the address space";
	return NULL;
}

static const char *check_order(const struct elf_program_header *p, const struct elf_segment *last)
{
	if (p->vaddr < last->vaddr)
		return "ELF: segments are not in the order of their addresses";
	if (p->vaddr - last->vaddr < last->memsz)
		return "ELF: segments overlap";
	return NULL;
}

static const char *add_segment(struct elf_image *out, const struct elf_program_header *p, u64 size)
{
	const char *error;

	if (!p->memsz && !p->filesz)
		return NULL;
	error = check_range(p, size, out->movable) ?: check_align(p);
	if (!error && out->nr)
		error = check_order(p, &out->segments[out->nr - 1]);
	if (error)
		return error;
	if (out->nr == ELF_SEGMENTS_MAX)
		return "ELF: more than 32 segments to load";
	out->segments[out->nr++] = (struct elf_segment){
		.offset = p->offset, .filesz = p->filesz, .vaddr = p->vaddr, .memsz = p->memsz,
		.prot = prot_of(p->flags),
	};
	out->align = MAX(out->align, p->align);
	return NULL;
}

static const char *read_headers(const u8 *file, u64 size, const struct elf_header *h, struct elf_image *out)
{
	const char *error = NULL;

	for (unsigned i = 0; i < h->phnum && !error; i++) {
		struct elf_program_header p;

		memcpy(&p, file + h->phoff + i * sizeof(p), sizeof(p));
		if (p.type == ELF_SEGMENT_INTERP)
			error = "ELF: a program that needs a dynamic linker; link it with -static";
		else if (p.type == ELF_SEGMENT_GNU_STACK)
			out->executable_stack = p.flags & ELF_FLAG_X;
		else if (p.type == ELF_SEGMENT_LOAD)
			error = add_segment(out, &p, size);
	}
	if (!error && !out->nr)
		error = "ELF: no segment to load";
	return error;
}

// Where the n bytes at `offset` of the file are in memory; 0: not all of them in one segment.
static vaddr_t address_of(const struct elf_image *image, u64 offset, u64 n)
{
	for (unsigned i = 0; i < image->nr; i++) {
		const struct elf_segment *s = &image->segments[i];

		if (offset >= s->offset && elf_holds(s->filesz, offset - s->offset, n))
			return s->vaddr + (offset - s->offset);
	}
	return 0;
}

static bool executable(const struct elf_image *image, vaddr_t va)
{
	for (unsigned i = 0; i < image->nr; i++) {
		const struct elf_segment *s = &image->segments[i];

		if (va >= s->vaddr && va - s->vaddr < s->memsz)
			return s->prot & PROT_X;
	}
	return false;
}

const char *elf_parse(const void *file, u64 size, struct elf_image *out)
{
	const struct elf_segment *last;
	struct elf_header h;
	const char *error;

	*out = (struct elf_image){ .align = PAGE_SIZE };
	if (size < sizeof(h))
		return "ELF: a file too short for its header";
	memcpy(&h, file, sizeof(h));
	error = check_header(&h);
	if (error)
		return error;
	if (!elf_holds(size, h.phoff, h.phnum * sizeof(struct elf_program_header)))
		return "ELF: program headers lie beyond the end of the file";
	out->movable = h.type == ELF_TYPE_DYN;
	error = read_headers(file, size, &h, out);
	if (error)
		return error;
	last = &out->segments[out->nr - 1];
	out->start = ALIGN_DOWN(out->segments[0].vaddr, PAGE_SIZE);
	out->end = ALIGN_UP(last->vaddr + last->memsz, PAGE_SIZE);
	if (out->movable && out->end - out->start > MOVABLE_MAX)
		return "ELF: a movable program of more than 16 TiB";
	out->entry = h.entry;
	if (!executable(out, h.entry))
		return "ELF: the entry lies in no executable segment";
	out->headers = address_of(out, h.phoff, h.phnum * sizeof(struct elf_program_header));
	out->nr_headers = h.phnum;
	return NULL;
}

u64 elf_bias(const struct elf_image *image, u64 seed)
{
	u64 base = BIAS_BASE;

	if (!image->movable)
		return 0;
	if (seed)
		base += rand_next(&seed) % BIAS_PAGES * PAGE_SIZE;
	return ALIGN_DOWN(base, image->align) - ALIGN_DOWN(image->start, image->align);
}
