// SPDX-License-Identifier: MIT
// Names for addresses, and what a broken symbol table does: nothing.
#include "kernel/lib.h"
#include "lab/test.h"
#include "proc/symbols.h"
#include "tests/proc/elf/file.h"

enum { SECTIONS = 0x4000, SYMBOLS = 0x4200, NAMES = 0x4400, TEXT = 1, TABLE = 2, STRINGS = 3 };
static const char names[] = "\0main\0_start\0data\0label\0bad\n\0middle";
enum { MAIN = 1, START = 6, DATUM = 13, LABEL = 18, BAD = 24, MIDDLE = 29 };

static struct elf_section_header *section(unsigned i)
{
	return (struct elf_section_header *)(elf_file.bytes + SECTIONS) + i;
}

static struct elf_symbol *symbol(unsigned i) { return (struct elf_symbol *)(elf_file.bytes + SYMBOLS) + i; }

static void add(unsigned i, u32 name, u8 type, u64 value, u64 size)
{
	*symbol(i) = (struct elf_symbol){ .name = name, .info = 0x10 | type, .section = TEXT, .value = value, .size = size };
}

static void begin(void)
{
	elf_file_begin();
	elf_file.header.shoff = SECTIONS;
	elf_file.header.shnum = 4;
	*section(0) = (struct elf_section_header){ 0 };
	*section(TEXT) = (struct elf_section_header){ .type = 1, .addr = CODE + 0x100, .offset = 0x100, .size = 0x2000 };
	*section(TABLE) = (struct elf_section_header){
		.type = ELF_SECTION_SYMTAB, .offset = SYMBOLS, .size = 8 * sizeof(struct elf_symbol), .link = STRINGS,
		.entsize = sizeof(struct elf_symbol),
	};
	*section(STRINGS) = (struct elf_section_header){ .type = ELF_SECTION_STRTAB, .offset = NAMES, .size = sizeof(names) };
	memcpy(elf_file.bytes + NAMES, names, sizeof(names));
	memset(symbol(0), 0, 8 * sizeof(struct elf_symbol));
	add(1, MAIN, ELF_SYMBOL_FUNC, CODE + 0x200, 0x80);
	add(2, START, ELF_SYMBOL_NOTYPE, CODE + 0x1000, 0);
	add(3, DATUM, 1, CODE + 0x1008, 8);				// an object
	add(4, LABEL, ELF_SYMBOL_NOTYPE, CODE + 0x200, 0);		// at main's beginning
	add(5, BAD, ELF_SYMBOL_FUNC, CODE + 0x210, 0x10);
	add(6, MIDDLE, ELF_SYMBOL_IFUNC, CODE + 0x220, 0x10);
	add(7, DATUM, ELF_SYMBOL_FUNC, CODE + 0x230, 0x10);
	symbol(7)->section = 0;						// undefined
}

static const char *look_up(u64 addr, u64 *offset) { return symbol_in_file(&elf_file, sizeof(elf_file), addr, offset); }

static bool finds(u64 addr, const char *name, u64 offset)
{
	u64 at = ~0ull;
	const char *found = look_up(addr, &at);

	return found && !strcmp(found, name) && at == offset;
}

static bool finds_nothing(u64 addr)
{
	u64 at;

	return !look_up(addr, &at);
}

TEST(elf, symbols, 0)
{
	begin();
	EXPECT(finds(CODE + 0x200, "main", 0) && finds(CODE + 0x20f, "main", 0xf));
	EXPECT(finds(CODE + 0x210, "main", 0x10));			// `bad` has a name that cannot be printed
	EXPECT(finds(CODE + 0x220, "middle", 0) && finds(CODE + 0x230, "main", 0x30));
	EXPECT(finds(CODE + 0x280, "label", 0x80));
	EXPECT(finds(CODE + 0x1008, "_start", 8) && finds(CODE + 0x20ff, "_start", 0x10ff));
	EXPECT(finds_nothing(CODE + 0x1ff) && finds_nothing(CODE + 0x2100) && finds_nothing(~0ull));
}

// One thing broken at a time.
static bool breaks(void *field, u64 v, size_t n)
{
	u64 at;
	bool found;

	memcpy(field, &v, n);
	found = look_up(CODE + 0x200, &at);
	begin();
	return !found;
}

TEST(elf, symbols_broken, 0)
{
	struct elf_header *h = &elf_file.header;

	begin();
	EXPECT(breaks(&h->ident[0], 0, 1) && breaks(&h->ident[ELF_CLASS], 1, 1) && breaks(&h->shentsize, 63, 2));
	EXPECT(breaks(&h->shoff, ELF_FILE_SIZE - 4 * 64 + 1, 8) && breaks(&h->shoff, ~0ull, 8) && breaks(&h->shnum, TABLE, 2));
	EXPECT(breaks(&section(TABLE)->entsize, 0, 8) && breaks(&section(TABLE)->size, ELF_FILE_SIZE, 8));
	EXPECT(breaks(&section(TABLE)->offset, ~0ull, 8) && breaks(&section(TABLE)->size, ~0ull, 8));
	EXPECT(breaks(&section(TABLE)->link, 4, 4) && breaks(&section(TABLE)->link, TEXT, 4));
	EXPECT(breaks(&section(STRINGS)->offset, ELF_FILE_SIZE, 8) && breaks(&section(STRINGS)->size, ~0ull, 8));
	EXPECT(breaks(&section(STRINGS)->size, MAIN, 8));		// all names lie behind its end
	EXPECT(breaks(&section(STRINGS)->size, 5, 8));			// no zero ends the name
	EXPECT(finds(CODE + 0x200, "main", 0));
	for (u64 size = 0; size < ELF_FILE_SIZE; size++) {
		const char *found;
		u64 at;

		found = symbol_in_file(&elf_file, size, CODE + 0x200, &at);
		EXPECT(!found || size >= NAMES + sizeof(names));
	}
}
