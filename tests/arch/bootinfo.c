// SPDX-License-Identifier: MIT
// The boot-information parser and the memory map on input that the test builds, valid and hostile. Whatever the bytes
// are, parsing ends, reads nothing outside the buffer, and reports what is wrong.
#include "arch/x86_64/bootinfo.h"
#include "arch/x86_64/multiboot2_parse.h"
#include "arch/x86_64/ram_map_parse.h"
#include "kernel/lib.h"
#include "lab/test.h"
#include <arch/pte.h>

static u8 buf[8192] __aligned(8);
static size_t len;
static struct boot_info info;
static struct ram_map map;

static void put32(size_t at, u32 v) { memcpy(buf + at, &v, sizeof(v)); }
static void put64(size_t at, u64 v) { memcpy(buf + at, &v, sizeof(v)); }

static void begin(void)
{
	memset(buf, 0, sizeof(buf));
	len = 8;
}

// Returns where the tag begins.
static size_t add_tag(u32 type, const void *payload, u32 size)
{
	size_t at = len;

	put32(at, type);
	put32(at + 4, 8 + size);
	if (payload)
		memcpy(buf + at + 8, payload, size);
	len = ALIGN_UP(at + 8 + size, 8);
	return at;
}

static size_t add_memory(unsigned entries)
{
	size_t at = add_tag(6, NULL, 8 + 24 * entries);

	put32(at + 8, 24);
	for (unsigned i = 0; i < entries; i++) {
		put64(at + 16 + 24 * i, (u64)i << 30);
		put64(at + 24 + 24 * i, 1 << 20);
		put32(at + 32 + 24 * i, 1 + i % 2);
	}
	return at;
}

static const char *finish(void)
{
	add_tag(0, NULL, 0);
	put32(0, (u32)len);
	return multiboot2_parse(buf, len, &info);
}

TEST(bootinfo, accepts, 0)
{
	u8 rsdp[36];

	begin();
	add_tag(1, "a=b c", 6);
	add_tag(2, "GRUB", 5);
	add_memory(3);
	memset(rsdp, 1, sizeof(rsdp));
	add_tag(14, rsdp, 20);
	memset(rsdp, 2, sizeof(rsdp));
	add_tag(15, rsdp, 36);
	memset(rsdp, 3, sizeof(rsdp));
	add_tag(14, rsdp, 20);
	REQUIRE(!finish());
	EXPECT(!strcmp(info.cmdline, "a=b c"));
	EXPECT_EQ(info.nr_memory, 3);
	EXPECT(info.memory[0].usable && !info.memory[1].usable && info.memory[2].usable);
	EXPECT_EQ(info.memory[2].end, (2ull << 30) + (1 << 20));
	EXPECT(info.rsdp_len == 36 && info.rsdp[0] == 2);
	EXPECT(!info.uefi);
	add_tag(12, rsdp, 8);	// behind the end tag: not seen
	put32(0, (u32)len);
	EXPECT(!multiboot2_parse(buf, len, &info) && !info.uefi);
	begin();
	add_tag(12, rsdp, 8);
	add_memory(1);
	EXPECT(!finish() && info.uefi && !info.cmdline[0] && !info.rsdp_len);
}

TEST(bootinfo, broken_frame, 0)
{
	size_t at;

	begin();
	add_memory(1);
	EXPECT(!finish());
	for (size_t n = 0; n < len; n++)
		EXPECT(multiboot2_parse(buf, n, &info));		// cut off anywhere
	EXPECT(multiboot2_parse(buf + 4, len, &info));			// misaligned
	for (u32 total = 0; total < len; total++) {
		put32(0, total);
		EXPECT(multiboot2_parse(buf, len, &info));
	}
	begin();
	EXPECT(finish());						// no memory map
	begin();
	at = add_tag(99, NULL, 4);
	add_memory(1);
	EXPECT(!finish());						// an unknown tag is passed over
	for (u32 size = 0; size < 8; size++) {
		put32(at + 4, size);
		EXPECT(multiboot2_parse(buf, len, &info));
	}
	put32(at + 4, 0x7fffffff);
	EXPECT(multiboot2_parse(buf, len, &info));
	put32(at + 4, 0xffffffff);
	EXPECT(multiboot2_parse(buf, len, &info));
}

TEST(bootinfo, broken_tags, 0)
{
	static char line[BOOT_CMDLINE_MAX + 1];
	size_t at;

	begin();
	add_memory(1);
	add_tag(1, "abc", 3);		// not terminated
	EXPECT(finish());
	begin();
	add_memory(1);
	add_tag(1, NULL, 0);
	EXPECT(finish());
	begin();
	add_memory(1);
	memset(line, 'x', BOOT_CMDLINE_MAX);
	add_tag(1, line, BOOT_CMDLINE_MAX + 1);
	EXPECT(finish());
	begin();
	at = add_memory(4);
	EXPECT(!finish());
	for (u32 size = 0; size < 64; size++) {	// entry sizes: 24 is right; 32 divides 96 too
		put32(at + 8, size);
		EXPECT_EQ(multiboot2_parse(buf, len, &info) == NULL, size == 24 || size == 32 || size == 48);
	}
	begin();
	add_tag(6, NULL, 0);
	EXPECT(finish());
	begin();
	add_memory(1);
	add_tag(14, NULL, 19);
	EXPECT(finish());
	begin();
	add_memory(1);
	add_tag(15, NULL, 35);
	EXPECT(finish());
	begin();
	at = add_memory(1);
	put64(at + 16, ~0ull - 4096);
	put64(at + 24, ~0ull);		// wraps around: cut at the last address
	EXPECT(!finish() && info.memory[0].end == ~0ull);
}

// A framebuffer tag at the end of otherwise valid boot information; returns where it begins.
static size_t add_framebuffer(u64 base, u32 pitch, u32 width, u32 height, u8 bits, u8 type)
{
	static const u8 rgb[] = { 16, 8, 8, 8, 0, 8 };
	size_t at;

	begin();
	add_memory(3);
	at = add_tag(8, NULL, 30);
	put64(at + 8, base);
	put32(at + 16, pitch);
	put32(at + 20, width);
	put32(at + 24, height);
	buf[at + 28] = bits;
	buf[at + 29] = type;
	memcpy(buf + at + 32, rgb, sizeof(rgb));
	return at;
}

#define PHYS_END (1ull << 40)
static bool screen_is_refused(void) { return !finish() && framebuffer_check(&info, PHYS_END); }

TEST(bootinfo, framebuffer, 0)
{
	add_framebuffer(0xfd000000, 4096, 1024, 768, 32, 1);
	REQUIRE(!finish() && info.framebuffer.given && !info.framebuffer.text && !framebuffer_check(&info, PHYS_END));
	EXPECT(info.framebuffer.base == 0xfd000000 && framebuffer_bytes(&info.framebuffer) == 4096 * 768);
	EXPECT(info.framebuffer.width == 1024 && info.framebuffer.height == 768 && info.framebuffer.bits == 32);
	EXPECT(info.framebuffer.red.at == 16 && info.framebuffer.green.at == 8 && info.framebuffer.blue.bits == 8);
	add_framebuffer(0x100b8000, 160, 80, 25, 16, 2);
	EXPECT(!finish() && info.framebuffer.text && !framebuffer_check(&info, PHYS_END));
	add_framebuffer(PHYS_END - 768 * 4096, 4096, 1024, 768, 32, 1);
	EXPECT(!finish() && !framebuffer_check(&info, PHYS_END));
	add_framebuffer((2ull << 30) + (1 << 20), 4096, 1024, 768, 32, 1);	// right behind the last RAM
	EXPECT(!finish() && !framebuffer_check(&info, PHYS_END));
	begin();
	add_memory(1);
	EXPECT(!finish() && !info.framebuffer.given);
}

TEST(bootinfo, framebuffer_refused, 0)
{
	size_t at;

	for (u32 size = 8; size < 38; size++) {			// too short a tag is broken boot information
		at = add_framebuffer(0xfd000000, 4096, 1024, 768, 32, 1);
		put32(at + 4, size);
		put32(at + ALIGN_UP(size, 8), 0);
		put32(at + ALIGN_UP(size, 8) + 4, 8);
		EXPECT(finish());
	}
	add_framebuffer(0xfd000000, 1024, 1024, 768, 8, 0);	// a palette
	EXPECT(screen_is_refused());
	add_framebuffer(0xfd000000, 4096, 1024, 768, 32, 3);	// an unknown type
	EXPECT(screen_is_refused());
	add_framebuffer(0xb8000, 80, 80, 25, 8, 2);
	EXPECT(screen_is_refused());
	add_framebuffer(0xfd000000, 4095, 1024, 768, 32, 1);	// rows that overlap
	EXPECT(screen_is_refused());
	add_framebuffer(0xfd000000, 16, 1u << 30, 768, 32, 1);	// … also where four times the width overflows
	EXPECT(screen_is_refused());
	add_framebuffer(0xfd000000, 4096, 0, 768, 32, 1);
	EXPECT(screen_is_refused());
	add_framebuffer(0xfd000000, 4096, 1024, 0, 32, 1);
	EXPECT(screen_is_refused());
	add_framebuffer(0xfd000000, 8192, 1024, 768, 64, 1);
	EXPECT(screen_is_refused());
	add_framebuffer(0, 4096, 1024, 768, 32, 1);
	EXPECT(screen_is_refused());
	add_framebuffer(PHYS_END - 768 * 4096 + 1, 4096, 1024, 768, 32, 1);
	EXPECT(screen_is_refused());
	add_framebuffer(~0ull - 4096, 4096, 1024, 768, 32, 1);	// … also where its end overflows
	EXPECT(screen_is_refused());
	add_framebuffer(0xfd000000, ~0u, ~0u / 4, ~0u, 32, 1);
	EXPECT(screen_is_refused());
	at = add_framebuffer(0xfd000000, 4096, 1024, 768, 32, 1);
	buf[at + 32] = 25;					// red beyond the pixel
	EXPECT(screen_is_refused());
	buf[at + 32] = 16;
	buf[at + 37] = 0;					// no blue
	EXPECT(!multiboot2_parse(buf, len, &info) && framebuffer_check(&info, PHYS_END));
	add_framebuffer((2ull << 30) + (1 << 20) - 1, 4096, 1024, 768, 32, 1);	// in usable RAM
	EXPECT(screen_is_refused());
	add_framebuffer((2ull << 30) - 768 * 4096 + 1, 4096, 1024, 768, 32, 1);
	EXPECT(screen_is_refused());
}

static void add_module(u32 start, u32 end)
{
	const u32 range[] = { start, end };

	add_tag(3, range, sizeof(range));
}

static bool fails(const char *why)
{
	const char *error = finish();

	return error && !strcmp(error, why);
}

TEST(bootinfo, modules, 0)
{
	begin();
	add_memory(1);
	add_module(0x400000, 0x401234);
	add_tag(3, "\0\0\x50\0\0\x10\x50\0its command line", 25);
	add_module(0x600000, 0x600000);		// an empty file: nothing to be kept
	REQUIRE(!finish() && info.nr_modules == 3 && info.nr_taken == 2);
	EXPECT(info.modules[0].start == 0x400000 && info.modules[0].end == 0x401234);
	EXPECT(info.modules[1].start == 0x500000 && info.modules[1].end == 0x501000);
	EXPECT(!memcmp(info.taken, info.modules, 2 * sizeof(info.taken[0])));
	for (u32 size = 0; size < 8; size++) {
		begin();
		add_memory(1);
		add_tag(3, NULL, size);
		EXPECT(fails("module tag too short"));
	}
	begin();
	add_memory(1);
	add_module(0x400001, 0x400000);
	EXPECT(fails("module that ends before it begins"));
	for (unsigned n = BOOT_MODULES_MAX; n <= BOOT_MODULES_MAX + 1; n++) {
		begin();
		add_memory(1);
		for (unsigned i = 1; i <= n; i++)
			add_module(i << 20, (i << 20) + 1);
		EXPECT(n > BOOT_MODULES_MAX ? fails("more than 32 modules") : !finish() && info.nr_taken == n);
	}
}

static void add_module_line(const char *line, u32 size)
{
	static u8 payload[8 + BOOT_CMDLINE_MAX + 1];

	memcpy(payload, "\0\0\x40\0\0\x10\x40", 8);
	memcpy(payload + 8, line, size);
	begin();
	add_memory(1);
	add_tag(3, payload, 8 + size);
}

TEST(bootinfo, module_line, 0)
{
	static char line[BOOT_CMDLINE_MAX + 1];

	add_module_line("prog a b", 9);
	add_tag(3, "\0\0\x50\0\0\x10\x50\0endless", 15);		// the second one's: nobody looks at it
	EXPECT(!finish() && info.nr_modules == 2 && !strcmp(info.module_line, "prog a b"));
	add_module_line("", 0);
	EXPECT(!finish() && !info.module_line[0]);
	add_module_line("prog", 4);
	EXPECT(fails("module whose command line has no terminating zero"));
	memset(line, 'x', sizeof(line));
	line[BOOT_CMDLINE_MAX - 1] = '\0';
	add_module_line(line, BOOT_CMDLINE_MAX);
	EXPECT(!finish() && strlen(info.module_line) == BOOT_CMDLINE_MAX - 1);
	line[BOOT_CMDLINE_MAX - 1] = 'x';
	line[BOOT_CMDLINE_MAX] = '\0';
	add_module_line(line, BOOT_CMDLINE_MAX + 1);
	EXPECT(fails("module whose command line is longer than 2047 bytes"));
}

TEST(bootinfo, too_many_entries, 0)
{
	static u8 big[16 + 16 + 24 * (BOOT_MEMORY_MAX + 1) + 8] __aligned(8);
	const u32 head[] = { sizeof(big), 0, 6, 16 + 24 * (BOOT_MEMORY_MAX + 1), 24, 0 };

	memset(big, 1, sizeof(big));
	memcpy(big, head, sizeof(head));
	EXPECT(multiboot2_parse(big, sizeof(big), &info));
}

// After random damage this checks only that parsing ends and that its results are within bounds.
TEST(bootinfo, random_damage, 0)
{
	u64 seed = test_seed();

	for (int i = 0; i < 20000; i++) {
		begin();
		add_tag(1, "mode=test", 10);
		add_memory(5);
		add_tag(15, NULL, 36);
		add_tag(8, NULL, 30);
		add_module(0x400000, 0x401234);
		add_tag(0, NULL, 0);
		put32(0, (u32)len);
		for (u64 n = 1 + rand_next(&seed) % 4; n; n--)
			buf[rand_next(&seed) % len] = (u8)rand_next(&seed);
		multiboot2_parse(buf, len, &info);
		REQUIRE(info.nr_memory <= BOOT_MEMORY_MAX && info.rsdp_len <= 36);
		REQUIRE(info.nr_modules <= BOOT_MODULES_MAX && info.nr_taken <= BOOT_TAKEN_MAX);
		REQUIRE(strnlen(info.cmdline, sizeof(info.cmdline)) < sizeof(info.cmdline));
	}
}

#define K(n) ((paddr_t)(n) * PAGE_SIZE)
#define LIMIT K(1 << 20)

static bool is(unsigned at, paddr_t start, paddr_t end)
{
	return at < map.n && map.r[at].start == start && map.r[at].end == end;
}

TEST(bootinfo, ram_unsorted_and_overlapping, 0)
{
	const struct memory_range in[] = {
		{ K(100), K(200), true }, { K(10), K(20), true }, { K(150), K(250), true }, { K(20), K(30), true },
		{ K(5), K(300), true }, { K(400), K(500), true }, { K(120), K(130), false }, { K(450), K(600), false },
		{ K(390), K(410), false }, { K(0), K(6), false },
	};

	REQUIRE(ram_map_build(&map, in, ARRAY_SIZE(in), LIMIT));
	EXPECT_EQ(map.n, 3);
	EXPECT(is(0, K(6), K(120)) && is(1, K(130), K(300)) && is(2, K(410), K(450)));
	EXPECT(ram_map_remove(&map, K(0), K(200)) && is(0, K(200), K(300)) && map.n == 2);
	EXPECT(ram_map_remove(&map, K(0), LIMIT) && map.n == 0);
}

TEST(bootinfo, ram_unaligned, 0)
{
	const struct memory_range in[] = {
		{ K(10) + 1, K(20) - 1, true }, { K(30) + 8, K(31) - 8, true }, { K(15) + 5, K(15) + 6, false },
		{ K(50), ~0ull, true }, { LIMIT + 1, ~0ull, true }, { ~0ull - 2, ~0ull, false }, { K(60), K(60), true },
		{ K(70), K(69), true },
	};

	REQUIRE(ram_map_build(&map, in, ARRAY_SIZE(in), LIMIT));
	EXPECT_EQ(map.n, 3);
	EXPECT(is(0, K(11), K(15)) && is(1, K(16), K(19)) && is(2, K(50), LIMIT));
}

TEST(bootinfo, ram_none, 0)
{
	const struct memory_range in[] = { { K(1), K(2), true }, { 0, ~0ull, false } };

	EXPECT(!ram_map_build(&map, in, 0, LIMIT));
	EXPECT(!ram_map_build(&map, in, ARRAY_SIZE(in), LIMIT));
	EXPECT(ram_map_build(&map, in, 1, LIMIT));
}

// The kernel's image may lie outside the RAM that the map has: in a hole, across an edge, or in part.
TEST(bootinfo, ram_covers, 0)
{
	const struct memory_range in[] = { { K(0), K(159), true }, { K(256), K(800), true }, { K(300), K(301), false } };

	REQUIRE(ram_map_build(&map, in, ARRAY_SIZE(in), LIMIT));
	EXPECT(ram_map_covers(&map, K(256), K(300)) && ram_map_covers(&map, K(301), K(302)) && ram_map_covers(&map, K(400), K(800)));
	EXPECT(!ram_map_covers(&map, K(255), K(260)) && !ram_map_covers(&map, K(256), K(301)));
	EXPECT(!ram_map_covers(&map, K(158), K(256)) && !ram_map_covers(&map, K(700), K(801)));
	EXPECT(ram_map_add(&map, K(256), K(400)) && ram_map_covers(&map, K(256), K(800)) && map.n == 2);
	EXPECT(ram_map_add(&map, K(900), K(901)) && ram_map_covers(&map, K(900), K(901)) && map.n == 3);
	REQUIRE(ram_map_remove(&map, 0, LIMIT));
	EXPECT(!ram_map_covers(&map, K(256), K(257)));
}

TEST(bootinfo, ram_real_mode_page, 0)
{
	const struct memory_range in[] = { { 0, K(159) + 1023, true }, { K(256), K(800), true } };

	REQUIRE(ram_map_build(&map, in, ARRAY_SIZE(in), LIMIT));
	EXPECT_EQ(ram_map_real_mode_page(&map), K(16));
	EXPECT(ram_map_remove(&map, K(16), K(18)));
	EXPECT_EQ(ram_map_real_mode_page(&map), K(18));
	EXPECT(ram_map_remove(&map, K(17), K(158)));
	EXPECT_EQ(ram_map_real_mode_page(&map), K(158));
	EXPECT(ram_map_remove(&map, K(158), K(159)));
	EXPECT_EQ(ram_map_real_mode_page(&map), K(1));	// page 0 has the real-mode vectors
	EXPECT(ram_map_remove(&map, K(1), K(15)));
	EXPECT_EQ(ram_map_real_mode_page(&map), K(15));
	EXPECT(ram_map_remove(&map, K(15), K(16)));
	EXPECT_EQ(ram_map_real_mode_page(&map), 0);		// 0 and 1 MiB are left
	EXPECT(ram_map_add(&map, K(160), K(200)));
	EXPECT_EQ(ram_map_real_mode_page(&map), 0);		// vectors A0h to BFh are reserved
}

TEST(bootinfo, ram_beyond_the_limit, 0)
{
	static const struct memory_range in[] = {
		{ LIMIT - K(2), LIMIT + K(7), true }, { 0, ~0ull, false }, { LIMIT + K(9), LIMIT + K(10) + 5, true }, { K(1), LIMIT, true },
	};

	EXPECT_EQ(ram_map_beyond(in, ARRAY_SIZE(in), LIMIT), K(8) + 5);
	EXPECT_EQ(ram_map_beyond(in + 1, 1, LIMIT), 0);
}

TEST(bootinfo, registers_are_not_in_ram, 0)
{
	static const struct memory_range in[] = { { K(2), K(4), true }, { K(8), K(9), true } };

	REQUIRE(ram_map_build(&map, in, ARRAY_SIZE(in), LIMIT));
	EXPECT(!ram_map_mmio_error(&map, 0, K(2), LIMIT));
	EXPECT(ram_map_mmio_error(&map, 0, K(2) + 1, LIMIT));
	EXPECT(ram_map_mmio_error(&map, K(4) - 1, 8, LIMIT));
	EXPECT(!ram_map_mmio_error(&map, K(4), K(4), LIMIT));
	EXPECT(ram_map_mmio_error(&map, K(4), K(40), LIMIT));	// encloses a range
	EXPECT(ram_map_mmio_error(&map, K(8) + 16, 16, LIMIT));
	EXPECT(!ram_map_mmio_error(&map, LIMIT - 16, 16, LIMIT));
	EXPECT(ram_map_mmio_error(&map, LIMIT - 16, 17, LIMIT));
	EXPECT(ram_map_mmio_error(&map, ~0ull - 15, 32, LIMIT));	// wraps
	EXPECT(ram_map_mmio_error(&map, K(100), ~0ull, LIMIT));
	EXPECT(ram_map_mmio_error(&map, K(100), 0, LIMIT));
}

// Against a plain bitmap of frames.
TEST(bootinfo, ram_random, 0)
{
	enum { FRAMES = 64 };
	u64 seed = test_seed();

	for (int round = 0; round < 2000; round++) {
		struct memory_range in[8];
		u64 usable = 0, taken = 0, got = 0;

		for (unsigned i = 0; i < ARRAY_SIZE(in); i++) {
			u64 a = rand_next(&seed) % FRAMES, b = rand_next(&seed) % (FRAMES + 1);

			in[i] = (struct memory_range){ K(a), K(b), rand_next(&seed) % 2 };
			for (u64 f = a; f < b; f++)
				*(in[i].usable ? &usable : &taken) |= 1ull << f;
		}
		ram_map_build(&map, in, ARRAY_SIZE(in), LIMIT);
		for (unsigned i = 0; i < map.n; i++) {
			REQUIRE(map.r[i].start < map.r[i].end && (!i || map.r[i - 1].end < map.r[i].start));
			for (paddr_t pa = map.r[i].start; pa < map.r[i].end; pa += PAGE_SIZE)
				got |= 1ull << (pa >> PAGE_SHIFT);
		}
		REQUIRE(got == (usable & ~taken));
	}
}
