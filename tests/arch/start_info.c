// SPDX-License-Identifier: MIT
// The parser of PVH's start_info over a small physical memory that the test fills: what is accepted, what is noted as
// taken, and which error names what is broken. Whatever the bytes are, nothing outside that memory is read.
#include "arch/x86_64/start_info_parse.h"
#include "kernel/lib.h"
#include "lab/test.h"

enum { AT = 0x100, LINE = 0x1000, RSDP = 0x200, MODULES = 0x300, MAP = 0x2000 };
enum { MAGIC = 0, VERSION = 4, FLAGS = 8, NR_MODULES = 12, MODULES_AT = 16, LINE_AT = 24, RSDP_AT = 32, MAP_AT = 40,
       NR_MAP = 48 };			// offsets in start_info
enum { SIZE_0 = 40, SIZE_1 = 56, MODULE = 32, ENTRY = 24 };

static u8 memory[MAP + ENTRY * (BOOT_MEMORY_MAX + 1)] __aligned(8);
static struct boot_info info;

static void put32(size_t at, u32 v) { memcpy(memory + at, &v, sizeof(v)); }
static void put64(size_t at, u64 v) { memcpy(memory + at, &v, sizeof(v)); }

static const char *parse_at(u64 at) { return start_info_parse(memory, sizeof(memory), at, &info); }
static const char *parse(void) { return parse_at(AT); }

static bool fails(const char *why)
{
	const char *error = parse();

	return error && !strcmp(error, why);
}

static bool is(const struct memory_range *r, u64 start, u64 end) { return r->start == start && r->end == end; }

static void put_entry(unsigned i, u64 base, u64 length, u32 type)
{
	put64(MAP + ENTRY * i, base);
	put64(MAP + ENTRY * i + 8, length);
	put32(MAP + ENTRY * i + 16, type);
}

static void put_module(unsigned i, u64 start, u64 size)
{
	put64(MODULES + MODULE * i, start);
	put64(MODULES + MODULE * i + 8, size);
}

// A sound start_info of version 1 with a map of two entries, and nothing else.
static void begin(void)
{
	memset(memory, 0, sizeof(memory));
	put32(AT + MAGIC, START_INFO_MAGIC);
	put32(AT + VERSION, 1);
	put64(AT + MAP_AT, MAP);
	put32(AT + NR_MAP, 2);
	put_entry(0, 0, 0x9fc00, 1);
	put_entry(1, 0xf0000, 0x10000, 2);
}

// … and with all that it may have.
static void begin_full(void)
{
	begin();
	memcpy(memory + LINE, "a=b c", 6);
	put64(AT + LINE_AT, LINE);
	memset(memory + RSDP, 7, 36);
	put64(AT + RSDP_AT, RSDP);
	put64(AT + MODULES_AT, MODULES);
	put32(AT + NR_MODULES, 2);
	put_module(0, 0x400000, 0x1234);
	put_module(1, 5ull << 32, 1);		// beyond what is mapped at first: only noted
}

TEST(start_info, accepts_version_1, 0)
{
	begin_full();
	put32(AT + FLAGS, 2);
	REQUIRE(!parse());
	EXPECT(info.pvh && info.initial_domain && !info.uefi);
	EXPECT(!strcmp(info.cmdline, "a=b c"));
	EXPECT(info.rsdp_len == 36 && info.rsdp[0] == 7 && info.rsdp[35] == 7);
	REQUIRE(info.nr_memory == 2 && info.nr_modules == 2 && info.nr_taken == 5);
	EXPECT(is(&info.memory[0], 0, 0x9fc00) && info.memory[0].usable);
	EXPECT(is(&info.memory[1], 0xf0000, 0x100000) && !info.memory[1].usable);
	EXPECT(is(&info.modules[0], 0x400000, 0x401234) && is(&info.modules[1], 5ull << 32, (5ull << 32) + 1));
	EXPECT(is(&info.taken[0], AT, AT + SIZE_1) && is(&info.taken[1], LINE, LINE + 6));
	EXPECT(is(&info.taken[2], MODULES, MODULES + 2 * MODULE));
	EXPECT(is(&info.taken[3], 0x400000, 0x401234) && is(&info.taken[4], 5ull << 32, (5ull << 32) + 1));
	begin();
	put32(AT + FLAGS, ~2u);
	put32(AT + VERSION, 7);			// a later version has the fields of version 1
	REQUIRE(!parse());
	EXPECT(!info.initial_domain && !info.cmdline[0] && !info.rsdp_len && !info.nr_modules && info.nr_memory == 2);
	EXPECT(info.nr_taken == 1 && is(&info.taken[0], AT, AT + SIZE_1));
	put64(AT + MODULES_AT, ~0ull);		// of no modules
	EXPECT(!parse() && info.nr_taken == 1);
}

TEST(start_info, accepts_version_0, 0)
{
	begin_full();
	put32(AT + VERSION, 0);
	put64(AT + MAP_AT, ~0ull);		// not its own: behind its end
	put32(AT + NR_MAP, ~0u);
	REQUIRE(!parse());
	EXPECT(!info.nr_memory && info.nr_modules == 2 && info.rsdp_len == 36 && !strcmp(info.cmdline, "a=b c"));
	EXPECT(is(&info.taken[0], AT, AT + SIZE_0));
	begin();
	put32(AT + NR_MAP, 0);			// version 1 without a map
	EXPECT(!parse() && !info.nr_memory);
}

TEST(start_info, head, 0)
{
	begin();
	put32(AT + MAGIC, START_INFO_MAGIC ^ 1);
	EXPECT(fails("start_info has a wrong magic number"));
	begin();
	for (size_t size = AT; size < AT + SIZE_1; size++)	// cut off in the middle
		EXPECT(!strcmp(start_info_parse(memory, size, AT, &info) ?: "", "start_info lies beyond memory"));
	for (u64 at = sizeof(memory) - SIZE_0 + 1; at < sizeof(memory) + 8; at++)
		EXPECT(!strcmp(parse_at(at) ?: "", "start_info lies beyond memory"));
	EXPECT(!strcmp(parse_at(~0ull) ?: "", "start_info lies beyond memory"));
	EXPECT(!strcmp(parse_at(0) ?: "", "start_info has a wrong magic number"));
	memcpy(memory + sizeof(memory) - SIZE_1, memory + AT, SIZE_1);
	EXPECT(!parse_at(sizeof(memory) - SIZE_1) && info.nr_memory == 2);
	memcpy(memory + sizeof(memory) - SIZE_0, memory + AT, SIZE_0);
	EXPECT(!strcmp(parse_at(sizeof(memory) - SIZE_0) ?: "", "start_info lies beyond memory"));
	put32(sizeof(memory) - SIZE_0 + VERSION, 0);
	EXPECT(!parse_at(sizeof(memory) - SIZE_0) && !info.nr_memory);
}

TEST(start_info, command_line, 0)
{
	static const u64 beyond[] = { sizeof(memory), sizeof(memory) + 1, 1ull << 32, ~0ull };

	begin();
	for (unsigned i = 0; i < ARRAY_SIZE(beyond); i++) {
		put64(AT + LINE_AT, beyond[i]);
		EXPECT(fails("start_info: the command line lies beyond memory"));
	}
	put64(AT + LINE_AT, sizeof(memory) - 1);	// the last byte, a zero
	EXPECT(!parse() && !info.cmdline[0] && is(&info.taken[1], sizeof(memory) - 1, sizeof(memory)));
	put64(AT + LINE_AT, sizeof(memory) - 9);
	memset(memory + sizeof(memory) - 9, 'x', 8);
	EXPECT(!parse() && strlen(info.cmdline) == 8);
	memory[sizeof(memory) - 1] = 'x';
	EXPECT(fails("start_info: command line without a terminating zero"));
	put64(AT + LINE_AT, LINE);
	memset(memory + LINE, 'x', BOOT_CMDLINE_MAX - 1);
	EXPECT(!parse() && strlen(info.cmdline) == BOOT_CMDLINE_MAX - 1);
	memory[LINE + BOOT_CMDLINE_MAX - 1] = 'x';
	EXPECT(fails("start_info: command line longer than 2047 bytes"));
	memset(memory + sizeof(memory) - BOOT_CMDLINE_MAX, 'x', BOOT_CMDLINE_MAX);	// longer, and at the end
	put64(AT + LINE_AT, sizeof(memory) - BOOT_CMDLINE_MAX);
	EXPECT(fails("start_info: command line longer than 2047 bytes"));
}

TEST(start_info, root_pointer, 0)
{
	static const char beyond[] = "start_info: the ACPI root pointer lies beyond memory";

	begin();
	for (unsigned at = 15; at <= 36; at++) {	// so many bytes are left, among them the revision: 0
		put64(AT + RSDP_AT, sizeof(memory) - at);
		EXPECT(at < 20 ? fails(beyond) : !parse() && info.rsdp_len == 20);
	}
	for (unsigned at = 20; at <= 36; at++) {
		put64(AT + RSDP_AT, sizeof(memory) - at);
		memset(memory + sizeof(memory) - at, 2, at);
		EXPECT(at < 36 ? fails(beyond) : !parse() && info.rsdp_len == 36);
	}
	put64(AT + RSDP_AT, sizeof(memory));
	EXPECT(fails(beyond));
	put64(AT + RSDP_AT, ~0ull - 7);
	EXPECT(fails(beyond));
}

// Without a pointer the firmware's ROM is searched.
TEST(start_info, root_pointer_is_searched, 0)
{
	enum { ROM = 0xe0000, ROM_SIZE = 0x20000, LAST = ROM_SIZE - 32 };
	static u8 rom[ROM_SIZE] __aligned(8);
	u8 pointer[20] = "RSD PTR \0QUIESC\0\x10";		// of revision 0; its table lies at 0x10
	const void *window = (const void *)((uintptr_t)rom - ROM);

	for (unsigned i = 0; i < sizeof(pointer); i++)
		pointer[8] = (u8)(pointer[8] - (i == 8 ? 0 : pointer[i]));
	begin();
	put32(AT + VERSION, 0);
	memset(rom, 0, sizeof(rom));
	memcpy(rom, memory + AT, SIZE_0);
	memcpy(rom + 0x1008, pointer, sizeof(pointer));		// not on a step
	memcpy(rom + 0x2000, pointer, sizeof(pointer));
	rom[0x2008]++;						// a wrong checksum
	EXPECT(!start_info_parse(window, ROM + ROM_SIZE, ROM, &info) && !info.rsdp_len);
	memcpy(rom + LAST, pointer, sizeof(pointer));
	EXPECT(!start_info_parse(window, ROM + ROM_SIZE, ROM, &info) && info.rsdp_len == 20 && info.rsdp[16] == 0x10);
	EXPECT(!start_info_parse(window, ROM + LAST + 19, ROM, &info) && !info.rsdp_len);	// cut off
	memcpy(rom + 0x1000, pointer, sizeof(pointer));
	rom[0x1010]++;
	rom[0x1008]--;
	EXPECT(!start_info_parse(window, ROM + ROM_SIZE, ROM, &info) && info.rsdp[16] == 0x11);	// the first one
	put64(AT + RSDP_AT, ROM + LAST);
	memcpy(rom, memory + AT, SIZE_0);
	EXPECT(!start_info_parse(window, ROM + ROM_SIZE, ROM, &info) && info.rsdp[16] == 0x10);	// not searched
}

// Of the first module; nobody looks at the others'.
TEST(start_info, module_line, 0)
{
	static const u64 beyond[] = { sizeof(memory), sizeof(memory) + 1, 1ull << 32, ~0ull };

	begin_full();
	memcpy(memory + LINE + 0x10, "prog a b", 9);
	put64(MODULES + 16, LINE + 0x10);
	put64(MODULES + MODULE + 16, ~0ull);
	EXPECT(!parse() && !strcmp(info.module_line, "prog a b") && !strcmp(info.cmdline, "a=b c") && info.nr_taken == 5);
	for (unsigned i = 0; i < ARRAY_SIZE(beyond); i++) {
		put64(MODULES + 16, beyond[i]);
		EXPECT(fails("start_info: the first module's command line lies beyond memory"));
	}
	put64(MODULES + 16, sizeof(memory) - 1);
	EXPECT(!parse() && !info.module_line[0]);
	memory[sizeof(memory) - 1] = 'x';
	EXPECT(fails("start_info: the first module's command line has no terminating zero"));
	memset(memory + sizeof(memory) - BOOT_CMDLINE_MAX, 'x', BOOT_CMDLINE_MAX);
	put64(MODULES + 16, sizeof(memory) - BOOT_CMDLINE_MAX);
	EXPECT(fails("start_info: the first module's command line is longer than 2047 bytes"));
}

TEST(start_info, modules, 0)
{
	static const char beyond[] = "start_info: the list of modules lies beyond memory";

	begin_full();
	for (u64 at = sizeof(memory) - 2 * MODULE; at < sizeof(memory) + 2; at++) {
		put64(AT + MODULES_AT, at);
		EXPECT(at == sizeof(memory) - 2 * MODULE ? !parse() && info.nr_modules == 2 : fails(beyond));
	}
	put64(AT + MODULES_AT, ~0ull);
	EXPECT(fails(beyond));
	put64(AT + MODULES_AT, 0);
	EXPECT(fails(beyond));
	begin_full();
	put32(AT + NR_MODULES, BOOT_MODULES_MAX);
	for (unsigned i = 0; i < BOOT_MODULES_MAX; i++)
		put_module(i, 0x100000 * (i + 1), i);		// the first one is empty, and not taken
	EXPECT(!parse() && info.nr_modules == BOOT_MODULES_MAX && info.nr_taken == 3 + BOOT_MODULES_MAX - 1);
	EXPECT(is(&info.modules[31], 0x2000000, 0x200001f) && is(&info.taken[info.nr_taken - 1], 0x2000000, 0x200001f));
	put_module(0, 0x100000, 1);
	EXPECT(!parse() && info.nr_taken == 3 + BOOT_MODULES_MAX);
	put32(AT + NR_MODULES, BOOT_MODULES_MAX + 1);
	EXPECT(fails("start_info: more than 32 modules"));
	put32(AT + NR_MODULES, ~0u);
	EXPECT(fails("start_info: more than 32 modules"));
	put32(AT + NR_MODULES, 1);
	put_module(0, ~0ull - 0xfff, 0xfff);
	EXPECT(!parse() && is(&info.modules[0], ~0ull - 0xfff, ~0ull));
	put_module(0, ~0ull - 0xfff, 0x1000);
	EXPECT(fails("start_info: a module ends beyond all addresses"));
	put_module(0, 2, ~0ull);
	EXPECT(fails("start_info: a module ends beyond all addresses"));
}

TEST(start_info, memory_map, 0)
{
	static const char beyond[] = "start_info: the memory map lies beyond memory";

	begin();
	for (u64 at = sizeof(memory) - 2 * ENTRY; at < sizeof(memory) + 2; at++) {
		put64(sizeof(memory) - 2 * ENTRY + 8, 1);
		put64(AT + MAP_AT, at);
		EXPECT(at == sizeof(memory) - 2 * ENTRY ? !parse() && info.nr_memory == 1 : fails(beyond));
	}
	put64(AT + MAP_AT, ~0ull);
	EXPECT(fails(beyond));
	put64(AT + MAP_AT, 0);
	EXPECT(fails(beyond));
	begin();
	put_entry(0, ~0ull - 4096, ~0ull, 1);	// wraps around: cut at the last address
	put_entry(1, 5, 0, 1);			// empty: left out
	EXPECT(!parse() && info.nr_memory == 1 && is(&info.memory[0], ~0ull - 4096, ~0ull));
	put_entry(0, 0, 0, 1);
	EXPECT(fails("start_info: memory map without an entry that is not empty"));
	for (unsigned i = 0; i <= BOOT_MEMORY_MAX; i++)
		put_entry(i, (u64)i << 20, 4096, 1 + i % 8);
	put32(AT + NR_MAP, BOOT_MEMORY_MAX);
	EXPECT(!parse() && info.nr_memory == BOOT_MEMORY_MAX && is(&info.memory[511], 511 << 20, (511 << 20) + 4096));
	for (unsigned i = 0; i < 16; i++)
		EXPECT_EQ(info.memory[i].usable, i % 8 == 0);	// type 1
	put32(AT + NR_MAP, BOOT_MEMORY_MAX + 1);
	EXPECT(fails("start_info: memory map with more than 512 entries"));
	put32(AT + NR_MAP, ~0u);
	EXPECT(fails("start_info: memory map with more than 512 entries"));
}

// After random damage this checks only that parsing ends and that its results are within bounds.
TEST(start_info, random_damage, 0)
{
	u64 seed = test_seed();

	for (int i = 0; i < 20000; i++) {
		begin_full();
		for (u64 n = 1 + rand_next(&seed) % 4; n; n--)
			memory[AT + rand_next(&seed) % SIZE_1] = (u8)rand_next(&seed);
		memory[MODULES + rand_next(&seed) % (2 * MODULE)] = (u8)rand_next(&seed);
		parse();
		REQUIRE(info.nr_memory <= BOOT_MEMORY_MAX && info.nr_modules <= BOOT_MODULES_MAX && info.nr_taken <= BOOT_TAKEN_MAX);
		REQUIRE(strnlen(info.cmdline, sizeof(info.cmdline)) < sizeof(info.cmdline));
		for (unsigned k = 0; k < info.nr_taken; k++)
			REQUIRE(info.taken[k].start < info.taken[k].end);
	}
}
