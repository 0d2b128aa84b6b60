// SPDX-License-Identifier: MIT
// See load.h. There is no page cache: what a segment has in the file is copied here and now.
//
//	file     .......[ segment's bytes )..........
//	memory   |......[ segment's bytes )000|00000)00|	|: pages, which were mapped empty
//
// So around a segment's bytes its pages hold zeroes. Linux maps pages of the file, and shows there whatever else is in
// them.
#include "proc/load.h"
#include "kernel/errno.h"
#include "kernel/panic.h"
#include "kernel/thread.h"
#include "mm/space.h"
#include <arch/uaccess.h>

// The pages of the i-th segment: a page that the next one also touches is the next one's.
static void pages_of(const struct elf_image *image, unsigned i, vaddr_t *start, vaddr_t *end)
{
	const struct elf_segment *s = &image->segments[i];

	*start = ALIGN_DOWN(s->vaddr, PAGE_SIZE);
	*end = ALIGN_UP(s->vaddr + s->memsz, PAGE_SIZE);
	if (i + 1 < image->nr)
		*end = MIN(*end, ALIGN_DOWN(s[1].vaddr, PAGE_SIZE));
}

static int map_all(struct space *s, const struct elf_image *image, u64 bias)
{
	vaddr_t start, end;
	int err = 0;

	for (unsigned i = 0; i < image->nr && !err; i++) {
		pages_of(image, i, &start, &end);
		if (start < end)
			err = space_map(s, start + bias, end - start, PROT_R | PROT_W, 1, 0);
	}
	return err;
}

// Nobody unmaps meanwhile: a copy fails only where there is no memory for a page.
static int fill_all(const u8 *file, const struct elf_image *image, u64 bias)
{
	for (unsigned i = 0; i < image->nr; i++) {
		const struct elf_segment *seg = &image->segments[i];

		if (copy_out(seg->vaddr + bias, file + seg->offset, seg->filesz))
			return -ENOMEM;
	}
	return 0;
}

static int protect_all(struct space *s, const struct elf_image *image, u64 bias)
{
	vaddr_t start, end;
	int err = 0;

	for (unsigned i = 0; i < image->nr && !err; i++) {
		pages_of(image, i, &start, &end);
		if (start < end && image->segments[i].prot != (PROT_R | PROT_W))
			err = space_protect(s, start + bias, end - start, image->segments[i].prot);
	}
	return err;
}

int program_load(struct space *s, const void *file, const struct elf_image *image, u64 bias, struct program *out)
{
	int err;

	ASSERT(current->space == s);
	err = map_all(s, image, bias) ?: fill_all(file, image, bias) ?: protect_all(s, image, bias);
	*out = (struct program){
		.entry = image->entry + bias,
		.headers = image->headers ? image->headers + bias : 0,
		.nr_headers = image->nr_headers,
		.brk_start = image->end + bias,
	};
	return err;
}
