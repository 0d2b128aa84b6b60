// SPDX-License-Identifier: MIT
// PVH's start_info (Xen: xen/include/public/arch-x86/hvm/start_info.h). All pointers in it are physical and 64 bits
// wide; a null pointer means that there is nothing.
//
//   u32 magic, version, flags, nr_modules | u64 modules, cmdline, rsdp        version 0 ends here
//   u64 memory map | u32 its entries, reserved                                version 1 and later
//
// What it points to is checked before it is read. All of it that is still needed, or lies beside what is, is noted as
// taken: Xen puts it into RAM that its memory map calls usable.
#include "arch/x86_64/start_info_parse.h"
#include "arch/x86_64/acpi_parse.h"
#include "kernel/lib.h"

enum { FLAG_INITIAL_DOMAIN = 1 << 1 };
struct start_info {
	u32 magic, version, flags, nr_modules;
	u64 modules, cmdline, rsdp;
	u64 memory_map;
	u32 nr_memory, reserved;
};
#define SIZE_VERSION_0 offsetof(struct start_info, memory_map)
struct module {
	u64 start, size, cmdline, reserved;
};
struct memory_entry {
	u64 base, length;
	u32 type, reserved;
};
_Static_assert(sizeof(struct start_info) == 56 && sizeof(struct module) == 32 && sizeof(struct memory_entry) == 24,
	       "start_info.h");
enum { RSDP_OLD = 20, RSDP_NEW = 36, RSDP_REVISION = 15 };	// ACPI 6.5, 5.2.5.3
enum { RSDP_AREA = 0xe0000, RSDP_AREA_END = 0x100000, RSDP_STEP = 16 };	// 5.2.5.1: the firmware's ROM
// start_info, the command line, the list of modules, the modules: boot_take() never fails.
_Static_assert(BOOT_TAKEN_MAX >= 3 + BOOT_MODULES_MAX, "too few ranges");

struct window {		// physical memory from 0 on, as far as it can be read
	const char *memory;
	u64 size;
};

static bool holds(const struct window *w, u64 at, u64 n) { return n <= w->size && at <= w->size - n; }

struct line_errors { const char *beyond, *longer, *endless; };

static const char *read_line(const struct window *w, u64 at, const struct line_errors *errors, char to[BOOT_CMDLINE_MAX])
{
	size_t n;

	if (!at)
		return NULL;
	if (!holds(w, at, 1))
		return errors->beyond;
	n = strnlen(w->memory + at, MIN(w->size - at, (u64)BOOT_CMDLINE_MAX));
	if (n == BOOT_CMDLINE_MAX)
		return errors->longer;
	if (n == w->size - at)
		return errors->endless;
	memcpy(to, w->memory + at, n + 1);
	return NULL;
}

static const char *take_cmdline(const struct window *w, u64 at, struct boot_info *out)
{
	static const struct line_errors errors = {
		.beyond = "start_info: the command line lies beyond memory",
		.longer = "start_info: command line longer than 2047 bytes",
		.endless = "start_info: command line without a terminating zero",
	};
	const char *error = read_line(w, at, &errors, out->cmdline);

	if (at && !error)
		boot_take(out, at, at + strlen(out->cmdline) + 1);
	return error;
}

static const char *read_module_line(const struct window *w, u64 at, struct boot_info *out)
{
	static const struct line_errors errors = {
		.beyond = "start_info: the first module's command line lies beyond memory",
		.longer = "start_info: the first module's command line is longer than 2047 bytes",
		.endless = "start_info: the first module's command line has no terminating zero",
	};

	return read_line(w, at, &errors, out->module_line);
}

// Where an intact root pointer lies in the firmware's ROM; 0: nowhere.
static u64 find_rsdp(const struct window *w)
{
	struct acpi_root unused;

	for (u64 at = RSDP_AREA; at < MIN((u64)RSDP_AREA_END, w->size); at += RSDP_STEP)
		if (!acpi_parse_rsdp(w->memory + at, MIN(w->size - at, (u64)RSDP_NEW), &unused))
			return at;
	return 0;
}

// The ACPI code checks what the root pointer says. Firecracker (1.12) names none, and leaves it where a BIOS does.
static const char *take_rsdp(const struct window *w, u64 at, struct boot_info *out)
{
	unsigned n;

	if (!at)
		at = find_rsdp(w);
	if (!at)
		return NULL;
	if (!holds(w, at, RSDP_OLD))
		return "start_info: the ACPI root pointer lies beyond memory";
	n = (u8)w->memory[at + RSDP_REVISION] >= 2 ? RSDP_NEW : RSDP_OLD;
	if (!holds(w, at, n))
		return "start_info: the ACPI root pointer lies beyond memory";
	memcpy(out->rsdp, w->memory + at, n);
	out->rsdp_len = n;
	return NULL;
}

static const char *take_modules(const struct window *w, u64 at, u32 n, struct boot_info *out)
{
	const char *error = NULL;

	if (n > BOOT_MODULES_MAX)
		return "start_info: more than 32 modules";
	if (!n)
		return NULL;
	if (!at || !holds(w, at, n * sizeof(struct module)))
		return "start_info: the list of modules lies beyond memory";
	boot_take(out, at, at + n * sizeof(struct module));
	for (u32 i = 0; i < n && !error; i++) {
		struct module m;

		memcpy(&m, w->memory + at + i * sizeof(m), sizeof(m));
		if (m.start + m.size < m.start)
			return "start_info: a module ends beyond all addresses";
		boot_add_module(out, m.start, m.start + m.size);
		if (i == 0)
			error = read_module_line(w, m.cmdline, out);
	}
	return error;
}

static const char *take_memory_map(const struct window *w, u64 at, u32 n, struct boot_info *out)
{
	if (!n)
		return NULL;
	if (n > BOOT_MEMORY_MAX)
		return "start_info: memory map with more than 512 entries";
	if (!at || !holds(w, at, n * sizeof(struct memory_entry)))
		return "start_info: the memory map lies beyond memory";
	for (u32 i = 0; i < n; i++) {
		struct memory_entry e;

		memcpy(&e, w->memory + at + i * sizeof(e), sizeof(e));
		boot_add_memory(out, e.base, e.length, e.type == BOOT_MEMORY_RAM);
	}
	return out->nr_memory ? NULL : "start_info: memory map without an entry that is not empty";
}

const char *start_info_parse(const void *memory, u64 size, u64 at, struct boot_info *out)
{
	struct window w = { memory, size };
	struct start_info s = { 0 };
	const char *error;
	u64 length = SIZE_VERSION_0;

	*out = (struct boot_info){ .pvh = true };
	if (!holds(&w, at, length))
		return "start_info lies beyond memory";
	memcpy(&s, w.memory + at, length);
	if (s.magic != START_INFO_MAGIC)
		return "start_info has a wrong magic number";
	if (s.version) {
		length = sizeof(s);
		if (!holds(&w, at, length))
			return "start_info lies beyond memory";
		memcpy(&s, w.memory + at, length);
	}
	out->initial_domain = s.flags & FLAG_INITIAL_DOMAIN;
	boot_take(out, at, at + length);
	error = take_cmdline(&w, s.cmdline, out);
	if (!error)
		error = take_rsdp(&w, s.rsdp, out);
	if (!error)
		error = take_modules(&w, s.modules, s.nr_modules, out);
	return error ?: take_memory_map(&w, s.memory_map, s.nr_memory, out);
}
