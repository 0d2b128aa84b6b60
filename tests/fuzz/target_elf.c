// SPDX-License-Identifier: MIT
// ELF files. What the parser accepts must be what a plain reading of the fields, in numbers that cannot overflow, comes
// to. What it accepts is loaded into a space of the kernel, and looked at there page by page. Symbols are looked up in
// every file; whatever is found must be a string of it.
#include <stdlib.h>
#include <string.h>
#include "kernel/lib.h"
#include "kernel/thread.h"
#include "lab/test.h"
#include "mm/region.h"
#include "proc/elf_format.h"
#include "proc/load.h"
#include "proc/symbols.h"
#include "tests/fuzz/fuzz.h"
#include <arch/uaccess.h>

typedef unsigned __int128 u128;

static const u8 *file;
static u64 file_size;
static struct elf_header header;
static struct elf_image image;

static struct elf_program_header get(unsigned i)
{
	struct elf_program_header p;

	memcpy(&p, file + header.phoff + i * sizeof(p), sizeof(p));
	return p;
}

static bool loaded(const struct elf_program_header *p) { return p->type == 1 && (p->memsz || p->filesz); }

static bool header_is_right(void)
{
	if (file_size < sizeof(header))
		return false;
	memcpy(&header, file, sizeof(header));
	return !memcmp(header.ident, "\177ELF\2\1", 6) && header.machine == 62 &&
	       (header.type == 2 || header.type == 3) && header.phentsize == 56 &&
	       header.phnum >= 1 && header.phnum <= 128 &&
	       (u128)header.phoff + header.phnum * 56u <= file_size;
}

static bool segment_is_right(const struct elf_program_header *p)
{
	return p->filesz <= p->memsz && (u128)p->offset + p->filesz <= file_size &&
	       p->vaddr >= (header.type == 2 ? 65536 : 0) && (u128)p->vaddr + p->memsz <= (1ull << 47) - (1ull << 30) &&
	       (!p->align || __builtin_popcountll(p->align) == 1) && p->align <= 1 << 30 &&
	       (!p->filesz || p->offset % 4096 == p->vaddr % 4096);
}

// The pages of all that is loaded, from the first to the last.
static bool is_short_enough(void)
{
	u64 start = ~0ull, end = 0;

	for (unsigned i = 0; i < header.phnum; i++) {
		struct elf_program_header p = get(i);

		if (!loaded(&p))
			continue;
		start = MIN(start, p.vaddr / 4096);
		end = MAX(end, (p.vaddr + p.memsz + 4095) / 4096);
	}
	return header.type == 2 || end - start <= 1ull << 32;
}

static bool segments_are_right(void)
{
	u128 behind = 0;
	bool entry = false;
	unsigned n = 0;

	for (unsigned i = 0; i < header.phnum; i++) {
		struct elf_program_header p = get(i);

		if (p.type == 3)
			return false;
		if (!loaded(&p))
			continue;
		if (!segment_is_right(&p) || p.vaddr < behind || ++n > 32)
			return false;
		behind = (u128)p.vaddr + p.memsz;
		entry |= (p.flags & 1) && header.entry >= p.vaddr && header.entry < behind;
	}
	return n && entry && is_short_enough();
}

// The last program header whose segment touches that page of the file's addresses; -1: none.
static int owner(u64 page)
{
	int found = -1;

	for (unsigned i = 0; i < header.phnum; i++) {
		struct elf_program_header p = get(i);

		if (loaded(&p) && page >= p.vaddr / 4096 && page <= (p.vaddr + p.memsz - 1) / 4096)
			found = (int)i;
	}
	return found;
}

// What the page holds; false: nothing of the file.
static bool contents(u64 page, u8 to[4096])
{
	bool any = false;

	memset(to, 0, 4096);
	for (unsigned i = 0; i < header.phnum; i++) {
		struct elf_program_header p = get(i);
		u64 from, end;

		if (!loaded(&p) || !p.filesz)
			continue;
		from = MAX(p.vaddr, page * 4096);
		end = MIN(p.vaddr + p.filesz, (page + 1) * 4096);
		if (from >= end)
			continue;
		memcpy(to + from % 4096, file + p.offset + (from - p.vaddr), end - from);
		any = true;
	}
	return any;
}

static int prot_of(u32 flags) { return (flags & 7 ? 1 : 0) | (flags & 2) | (flags & 1) << 2; }

static int prot_at(vaddr_t va)
{
	struct region *r;
	int prot;

	mutex_lock(&current->space->lock);
	r = region_find(current->space, va);
	prot = r ? r->prot : -1;
	mutex_unlock(&current->space->lock);
	return prot;
}

// Counts the pages that have memory.
static u64 judge_page(u64 page, u64 bias)
{
	static u8 expected[4096], seen[4096];
	vaddr_t va = page * 4096 + bias;
	int i = owner(page), prot = i < 0 ? -1 : prot_of(get((unsigned)i).flags);

	EXPECT_EQ(prot_at(va), prot);
	if (i < 0 || !contents(page, expected))
		return 0;
	if (prot)
		EXPECT(!copy_in(seen, va, 4096) && !memcmp(seen, expected, 4096));
	return 1;
}

// The pages of each segment that are in the file, and those around it; each page once.
static u64 judge_pages(u64 bias)
{
	u64 next = 0, n = 0;

	for (unsigned i = 0; i < header.phnum; i++) {
		struct elf_program_header p = get(i);
		u64 first = p.vaddr / 4096, last = (p.vaddr + p.memsz - 1) / 4096;

		if (!loaded(&p))
			continue;
		if (p.filesz)
			for (u64 page = MAX(first, next); page <= (p.vaddr + p.filesz - 1) / 4096; page++, next = page)
				n += judge_page(page, bias);
		EXPECT_EQ(prot_at(last * 4096 + bias), prot_of(get((unsigned)owner(last)).flags));
		EXPECT_EQ(prot_at((last + 1) * 4096 + bias) < 0, owner(last + 1) < 0);
		if (first)
			EXPECT_EQ(prot_at((first - 1) * 4096 + bias) < 0, owner(first - 1) < 0);
	}
	return n;
}

static void judge_loaded(void)
{
	struct space *s = space_create();
	struct program program;
	u64 bias = elf_bias(&image, header.flags);

	if (!EXPECT(s))
		return;
	space_attach(s);
	space_put(s);
	if (EXPECT_EQ(program_load(s, file, &image, bias, &program), 0)) {
		u64 mapped = s->mapped, n = judge_pages(bias);

		EXPECT_EQ(mapped, n);
		EXPECT(program.entry == header.entry + bias && program.brk_start == image.end + bias);
	}
	space_detach();
}

static void judge_image(void)
{
	u64 bias = elf_bias(&image, header.flags);

	FUZZ_REQUIRE(image.movable == (header.type == 3) && (image.movable || !bias) && !(bias % image.align));
	FUZZ_REQUIRE(image.start + bias >= 65536 && image.end + bias <= (1ull << 47) - (1ull << 30));
	FUZZ_REQUIRE(image.start < image.end && image.nr_headers == header.phnum);
	if (image.headers) {
		bool in_file = false;

		for (unsigned i = 0; i < image.nr; i++)
			in_file |= image.headers - image.segments[i].vaddr == header.phoff - image.segments[i].offset;
		FUZZ_REQUIRE(in_file);
	}
}

static void judge_symbol(u64 addr)
{
	u64 offset = ~0ull;
	const char *name = symbol_in_file(file, file_size, addr, &offset);

	if (!name)
		return;
	FUZZ_REQUIRE(name >= (const char *)file && name < (const char *)file + file_size && offset <= addr);
	FUZZ_REQUIRE(strnlen(name, (size_t)((const char *)file + file_size - name)) <= 255 && name[0] > ' ');
}

static void judge_symbols(void)
{
	for (u64 i = 0; i < 8; i++)
		judge_symbol(header.entry + (i * i * 16 - 32));
	for (unsigned i = 0; i < image.nr; i++)
		judge_symbol(image.segments[i].vaddr);
}

static void run_input(const uint8_t *data, size_t size)
{
	judge_loaded();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	fuzz_kernel_boot(run_input);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool right;

	file = fuzz_exact(data, size);
	file_size = size;
	right = header_is_right() && segments_are_right();
	FUZZ_REQUIRE(!elf_parse(file, size, &image) == right);
	judge_symbols();
	if (right) {
		judge_image();
		fuzz_kernel_run(data, size);
	}
	free((void *)file);
	return 0;
}

// ---- A mutation nearly always breaks the header, or a segment's place: most inputs are put in order again. ----

static void put_in_order(u8 *data, size_t size, unsigned seed)
{
	struct elf_program_header p;
	struct elf_header h;
	u64 at = 65536;

	memcpy(&h, data, sizeof(h));
	memcpy(h.ident, "\177ELF\2\1", 6);
	h.machine = 62;
	h.type = h.type == 3 ? 3 : 2;
	h.phentsize = sizeof(p);
	h.phoff = h.phoff % 8 || h.phoff > size - sizeof(p) ? sizeof(h) : h.phoff;
	h.phnum = (u16)MIN((u64)h.phnum % 129, (size - h.phoff) / sizeof(p));
	for (unsigned i = 0; i < h.phnum; i++, seed = seed * 1103515245 + 12345) {
		u8 *to = data + h.phoff + i * sizeof(p);

		memcpy(&p, to, sizeof(p));
		if (p.type != 1 || seed >> 16 & 1)
			continue;
		p.offset %= size;
		p.filesz = MIN(p.filesz, size - p.offset);
		p.memsz = MAX(p.memsz, p.filesz) & ((1ull << 40) - 1);
		p.memsz = MAX(p.memsz, p.filesz);
		if (seed >> 19 & 1) {		// right behind the one before, or one byte too early
			p.vaddr = at - (seed >> 20 & 1);
			p.offset = MIN((p.offset & ~4095ull) + p.vaddr % 4096, size - p.filesz);
		}
		p.vaddr = p.vaddr < at - 1 || p.vaddr >> 46 ? at : p.vaddr;
		p.vaddr += (p.offset - p.vaddr) % 4096;
		p.align = seed >> 17 & 1 ? 4096 : p.align;
		at = p.vaddr + p.memsz;
		if (seed >> 18 & 1) {
			p.flags |= 1;
			h.entry = p.vaddr;
		}
		memcpy(to, &p, sizeof(p));
	}
	memcpy(data, &h, sizeof(h));
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
	size = LLVMFuzzerMutate(data, size, max);
	if (size > sizeof(struct elf_header) + sizeof(struct elf_program_header) && seed % 8)
		put_in_order(data, size, seed);
	return size;
}
