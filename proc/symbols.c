// SPDX-License-Identifier: MIT
// See symbols.h. A symbol without a size, such as a label of assembly code, reaches to the next symbol or the end of
// its section.
#include "proc/symbols.h"
#include "kernel/lib.h"
#include "proc/elf_format.h"

#define NAME_MAX 255

struct symbols {
	const u8 *file;
	u64 size;
	u64 sections, nr_sections;	// where their headers lie
	u64 at, nr;			// the symbols
	u64 names, names_size;
};

static bool get_section(const struct symbols *y, u64 i, struct elf_section_header *to)
{
	if (i >= y->nr_sections)
		return false;
	memcpy(to, y->file + y->sections + i * sizeof(*to), sizeof(*to));
	return true;
}

static bool open_sections(struct symbols *y)
{
	struct elf_header h;

	if (y->size < sizeof(h))
		return false;
	memcpy(&h, y->file, sizeof(h));
	if (memcmp(h.ident, ELF_MAGIC, 4) || h.ident[ELF_CLASS] != ELF_CLASS_64 ||
	    h.ident[ELF_DATA] != ELF_DATA_LITTLE || h.shentsize != sizeof(struct elf_section_header))
		return false;
	y->sections = h.shoff;
	y->nr_sections = h.shnum;
	return elf_holds(y->size, h.shoff, h.shnum * sizeof(struct elf_section_header));
}

static bool open_symbols(struct symbols *y)
{
	struct elf_section_header s, names;

	for (u64 i = 0; get_section(y, i, &s); i++) {
		if (s.type != ELF_SECTION_SYMTAB || s.entsize != sizeof(struct elf_symbol) ||
		    !elf_holds(y->size, s.offset, s.size))
			continue;
		if (!get_section(y, s.link, &names) || names.type != ELF_SECTION_STRTAB ||
		    !elf_holds(y->size, names.offset, names.size))
			continue;
		y->at = s.offset;
		y->nr = s.size / sizeof(struct elf_symbol);
		y->names = names.offset;
		y->names_size = names.size;
		return true;
	}
	return false;
}

static bool is_code(const struct elf_symbol *s)
{
	unsigned type = s->info & 15;

	return s->section && s->section < ELF_SECTION_RESERVED &&
	       (type == ELF_SYMBOL_FUNC || type == ELF_SYMBOL_IFUNC || type == ELF_SYMBOL_NOTYPE);
}

static bool reaches(const struct symbols *y, const struct elf_symbol *s, u64 addr)
{
	struct elf_section_header in;

	if (s->value > addr)
		return false;
	if (s->size)
		return addr - s->value < s->size;
	return get_section(y, s->section, &in) && addr >= in.addr && addr - in.addr < in.size;
}

static const char *name_of(const struct symbols *y, const struct elf_symbol *s)
{
	const char *name;
	size_t most;

	if (s->name >= y->names_size)
		return NULL;
	name = (const char *)y->file + y->names + s->name;
	most = MIN(y->names_size - s->name, NAME_MAX + 1ull);
	for (size_t i = 0; i < most; i++) {
		if (!name[i])
			return i ? name : NULL;
		if (name[i] <= ' ' || name[i] > '~')
			return NULL;
	}
	return NULL;
}

// Of two at the same place, the one with a size is the function, the other a label in front of it.
static bool nearer(const struct elf_symbol *s, const struct elf_symbol *than)
{
	return s->value > than->value || (s->value == than->value && s->size && !than->size);
}

const char *symbol_in_file(const void *file, u64 size, u64 addr, u64 *offset)
{
	struct symbols y = { .file = file, .size = size };
	struct elf_symbol s, best = { 0 };
	const char *name = NULL, *found;

	if (!open_sections(&y) || !open_symbols(&y))
		return NULL;
	for (u64 i = 0; i < y.nr; i++) {
		memcpy(&s, y.file + y.at + i * sizeof(s), sizeof(s));
		if (!is_code(&s) || !reaches(&y, &s, addr) || (name && !nearer(&s, &best)))
			continue;
		found = name_of(&y, &s);
		if (found) {
			name = found;
			best = s;
		}
	}
	if (name)
		*offset = addr - best.value;
	return name;
}
