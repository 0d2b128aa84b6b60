// SPDX-License-Identifier: MIT
// The parser of ELF files: what it makes of a sound one, and what it says to each way of breaking one.
#include "kernel/lib.h"
#include "lab/test.h"
#include "tests/proc/elf/file.h"

static struct elf_image image;

static const char *parse(void) { return elf_parse(&elf_file, sizeof(elf_file), &image); }

static bool fails(const char *why)
{
	const char *error = parse();

	return error && !strcmp(error, why);
}

static struct elf_program_header *begin(unsigned i)	// … to break that segment
{
	elf_file_begin();
	return &elf_file.segments[i];
}

static struct elf_program_header *begin_movable(unsigned i)
{
	elf_file_begin_movable();
	return &elf_file.segments[i];
}

static bool is(unsigned i, vaddr_t va, u64 offset, u64 filesz, u64 memsz, unsigned prot)
{
	const struct elf_segment *s = &image.segments[i];

	return s->vaddr == va && s->offset == offset && s->filesz == filesz && s->memsz == memsz && s->prot == prot;
}

TEST(elf, sound, 0)
{
	elf_file_begin();
	REQUIRE(!parse());
	REQUIRE(image.nr == 3);
	EXPECT(is(0, CODE, 0, CODE_SIZE, CODE_SIZE, PROT_R | PROT_X));
	EXPECT(is(1, CONSTANTS, CONSTANTS - CODE, CONSTANTS_SIZE, CONSTANTS_SIZE, PROT_R));
	EXPECT(is(2, DATA, DATA_OFFSET, DATA_SIZE, DATA_MEMORY, PROT_R | PROT_W));
	EXPECT(image.start == CODE && image.end == ALIGN_UP(DATA + DATA_MEMORY, PAGE_SIZE));
	EXPECT(image.entry == ENTRY && image.headers == CODE + 64 && image.nr_headers == 3);
	EXPECT(!image.movable && !image.executable_stack && !elf_bias(&image, 5));
}

// What linkers do, and what they could do.
TEST(elf, unusual_but_sound, 0)
{
	elf_file_begin();
	elf_file_add(ELF_SEGMENT_GNU_STACK, ELF_FLAG_R | ELF_FLAG_W, 0, ~0ull, 0, 0);
	EXPECT(!parse() && !image.executable_stack && image.nr == 3 && image.nr_headers == 4);
	elf_file.segments[3].flags |= ELF_FLAG_X;
	EXPECT(!parse() && image.executable_stack);
	elf_file_add(7, 0, ~0ull, ~0ull, ~0ull, 1);		// PT_TLS, and whatever else: not our business
	EXPECT(!parse() && image.nr == 3);
	elf_file_add(ELF_SEGMENT_LOAD, ~0u, ~0ull, ~0ull, 0, 0);	// empty
	EXPECT(!parse() && image.nr == 3);
	begin(2)->filesz = 0;					// nothing but a bss: its offset means nothing
	elf_file.segments[2].offset = ELF_FILE_SIZE;
	EXPECT(!parse() && is(2, DATA, ELF_FILE_SIZE, 0, DATA_MEMORY, PROT_R | PROT_W));
	begin(1)->flags = ELF_FLAG_X;
	EXPECT(!parse() && image.segments[1].prot == (PROT_R | PROT_X));
	begin(1)->flags = ELF_FLAG_W;
	EXPECT(!parse() && image.segments[1].prot == (PROT_R | PROT_W));
	begin(1)->flags = 0xfffffff8;				// none of the three that we know
	EXPECT(!parse() && image.segments[1].prot == 0);
	begin(0)->align = 0;
	elf_file.segments[1].align = 1;
	elf_file.segments[2].align = ELF_ALIGN_MAX;		// of which Linux takes no notice in an ET_EXEC
	EXPECT(!parse() && image.align == ELF_ALIGN_MAX);
	begin(0)->offset = PAGE_SIZE;				// the headers are in no segment
	elf_file.segments[0].filesz = 0x1345;
	EXPECT(!parse() && !image.headers && image.nr_headers == 3);
}

// Two that share a page but no byte.
TEST(elf, shared_page, 0)
{
	struct elf_program_header *p = begin(1);

	p->vaddr = CODE + CODE_SIZE;
	p->offset = CODE_SIZE;
	EXPECT(!parse() && image.segments[1].vaddr == CODE + CODE_SIZE);
	p->vaddr--;
	p->offset--;
	EXPECT(fails("ELF: segments overlap"));
}

TEST(elf, movable, 0)
{
	u64 first, other;

	elf_file_begin_movable();
	REQUIRE(!parse());
	EXPECT(image.movable && image.start == 0 && image.entry == ENTRY - CODE && image.headers == 64);
	EXPECT(elf_bias(&image, 0) == 0x555555554000);
	first = elf_bias(&image, 1);
	other = elf_bias(&image, 2);
	EXPECT(first == elf_bias(&image, 1) && first != other && !((first | other) % PAGE_SIZE));
	for (u64 seed = 1; seed < 100; seed++)
		EXPECT(elf_bias(&image, seed) - 0x555555554000 < PAGE_SIZE << 28);
	begin_movable(0)->align = 2 << 20;
	EXPECT(!parse() && !(elf_bias(&image, 1) % (2 << 20)) && elf_bias(&image, 0) == 0x555555400000);
	elf_file_begin();					// linked high: moved down
	elf_file.header.type = ELF_TYPE_DYN;
	EXPECT(!parse() && elf_bias(&image, 0) == 0x555555554000 - CODE);
	EXPECT(image.entry + elf_bias(&image, 0) == 0x555555556001);
	begin_movable(2)->memsz = (16ull << 40) - (DATA - CODE);
	EXPECT(!parse() && elf_bias(&image, ~0ull) + image.end <= PROGRAM_END);
	elf_file.segments[2].memsz++;
	EXPECT(fails("ELF: a movable program of more than 16 TiB"));
}

TEST(elf, header, 0)
{
	struct elf_header *h = &elf_file.header;

	for (size_t size = 0; size < sizeof(*h); size++)
		EXPECT(!strcmp(elf_parse(&elf_file, size, &image) ?: "", "ELF: a file too short for its header"));
	for (unsigned i = 0; i < 4; i++) {
		elf_file_begin();
		h->ident[i] ^= 1;
		EXPECT(fails("not an ELF file"));
	}
	elf_file_begin();
	h->ident[ELF_CLASS] = 1;
	EXPECT(fails("ELF: not a 64-bit file"));
	elf_file_begin();
	h->ident[ELF_DATA] = 2;
	EXPECT(fails("ELF: not little-endian"));
	elf_file_begin();
	h->machine = 183;
	EXPECT(fails("ELF: not for x86-64"));
	for (u16 type = 0; type < 6; type++) {
		elf_file_begin();
		h->type = type;
		if (type != ELF_TYPE_EXEC && type != ELF_TYPE_DYN)
			EXPECT(fails("ELF: not an executable"));
	}
	elf_file_begin();
	h->phentsize = 57;
	EXPECT(fails("ELF: program headers of a wrong size"));
}

TEST(elf, program_headers, 0)
{
	struct elf_header *h = &elf_file.header;

	elf_file_begin();
	h->phnum = 0;
	EXPECT(fails("ELF: no program headers"));
	h->phnum = ELF_HEADERS_MAX;
	EXPECT(!parse());
	h->phnum++;
	EXPECT(fails("ELF: more than 128 program headers"));
	elf_file_begin();
	h->phoff = ELF_FILE_SIZE - 3 * 56 + 1;
	EXPECT(fails("ELF: program headers lie beyond the end of the file"));
	h->phoff = ~0ull;
	EXPECT(fails("ELF: program headers lie beyond the end of the file"));
	elf_file_begin();
	for (unsigned i = 0; i < 3; i++)
		elf_file.segments[i].type = 4;
	EXPECT(fails("ELF: no segment to load"));
	elf_file_begin();
	elf_file_add(ELF_SEGMENT_INTERP, ELF_FLAG_R, CODE + 0x100, 0x100, 0x1c, 0x1c);
	EXPECT(fails("ELF: a program that needs a dynamic linker; link it with -static"));
	elf_file_begin();
	for (unsigned i = 3; i < ELF_SEGMENTS_MAX; i++)
		elf_file_add(ELF_SEGMENT_LOAD, ELF_FLAG_R, 0x500000 + i * PAGE_SIZE, 0, 1, 1);
	EXPECT(!parse() && image.nr == ELF_SEGMENTS_MAX);
	elf_file_add(ELF_SEGMENT_LOAD, ELF_FLAG_R, 0x600000, 0, 1, 1);
	EXPECT(fails("ELF: more than 32 segments to load"));
}

TEST(elf, segment_in_file, 0)
{
	begin(2)->filesz = DATA_MEMORY + 1;
	EXPECT(fails("ELF: a segment that is longer in the file than in memory"));
	begin(2)->memsz = 0;
	EXPECT(fails("ELF: a segment that is longer in the file than in memory"));
	begin(2)->filesz = ELF_FILE_SIZE - DATA_OFFSET;
	EXPECT(!parse());
	elf_file.segments[2].filesz++;
	EXPECT(fails("ELF: a segment lies beyond the end of the file"));
	begin(2)->offset = ~0ull - 0xfff + DATA_OFFSET % PAGE_SIZE;	// with the size it wraps
	EXPECT(fails("ELF: a segment lies beyond the end of the file"));
	begin(2)->offset++;
	EXPECT(fails("ELF: a segment lies differently in its page than in the file"));
	begin(2)->align = 3 * PAGE_SIZE;
	EXPECT(fails("ELF: an alignment that is no power of two"));
	begin(2)->align = 2 * ELF_ALIGN_MAX;
	EXPECT(fails("ELF: an alignment of more than 1 GiB"));
}

TEST(elf, segment_in_memory, 0)
{
	begin(0)->vaddr = PROGRAM_LOWEST;
	elf_file.header.entry = PROGRAM_LOWEST;
	EXPECT(!parse());
	elf_file.segments[0].vaddr -= PAGE_SIZE;
	EXPECT(fails("ELF: a segment below 64 KiB"));
	begin(2)->memsz = PROGRAM_END - DATA;
	EXPECT(!parse() && image.end == PROGRAM_END);
	elf_file.segments[2].memsz++;
	EXPECT(fails("ELF: a segment lies outside the program's part of the address space"));
	begin(2)->memsz = ~0ull;					// with the address it wraps
	EXPECT(fails("ELF: a segment lies outside the program's part of the address space"));
	begin(2)->vaddr = 0xffffffff80000678;				// the kernel's half
	EXPECT(fails("ELF: a segment lies outside the program's part of the address space"));
	begin_movable(2)->vaddr = 0xffffffff80000678;
	EXPECT(fails("ELF: a segment lies outside the program's part of the address space"));
	begin(1)->vaddr = CODE + ALIGN_DOWN(CODE_SIZE, PAGE_SIZE);
	EXPECT(fails("ELF: segments overlap"));
	begin(1)->vaddr = CODE;
	EXPECT(fails("ELF: segments overlap"));
	begin(2)->vaddr = CODE - PAGE_SIZE + DATA_OFFSET % PAGE_SIZE;
	EXPECT(fails("ELF: segments are not in the order of their addresses"));
}

TEST(elf, entry, 0)
{
	static const vaddr_t bad[] = { 0, CODE - 1, CODE + CODE_SIZE, CONSTANTS, DATA, ~0ull };

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		elf_file_begin();
		elf_file.header.entry = bad[i];
		EXPECT(fails("ELF: the entry lies in no executable segment"));
	}
	elf_file_begin();
	elf_file.header.entry = CODE + CODE_SIZE - 1;
	EXPECT(!parse());
}
