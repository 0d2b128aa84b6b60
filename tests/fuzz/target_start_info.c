// SPDX-License-Identifier: MIT
// PVH's start_info: the first 4 bytes say where it lies, the rest is physical memory from 0 on. What the parser accepts
// and what it makes of that must be what a plain reading of the fields, in numbers that cannot overflow, comes to.
#include <stdlib.h>
#include "arch/x86_64/start_info_parse.h"
#include "kernel/lib.h"
#include "arch/host/host.h"
#include "tests/fuzz/fuzz.h"

enum { MAGIC = 0, VERSION = 4, FLAGS = 8, NR_MODULES = 12, MODULES = 16, LINE = 24, RSDP = 32, MAP = 40, NR_MAP = 48 };
enum { SIZE_0 = 40, SIZE_1 = 56, MODULE = 32, ENTRY = 24 };
typedef unsigned __int128 u128;

static struct boot_info info;
static const u8 *memory;
static size_t memory_size;
static u32 at;			// start_info's address

static u32 get32(u64 from) { u32 v; memcpy(&v, memory + from, sizeof(v)); return v; }
static u64 get64(u64 from) { u64 v; memcpy(&v, memory + from, sizeof(v)); return v; }
static bool inside(u64 from, u64 n) { return (u128)from + n <= memory_size; }

static bool head_is_right(void)
{
	return inside(at, SIZE_0) && get32(at + MAGIC) == START_INFO_MAGIC && (!get32(at + VERSION) || inside(at, SIZE_1));
}

static bool line_is_right(u64 line)
{
	for (unsigned i = 0; line && i < BOOT_CMDLINE_MAX; i++) {
		if (!inside(line, i + 1))
			return false;
		if (!memory[line + i])
			return true;
	}
	return !line;
}

static unsigned rsdp_len(u64 rsdp) { return memory[rsdp + 15] >= 2 ? 36 : 20; }

static bool rsdp_is_right(void)
{
	u64 rsdp = get64(at + RSDP);

	return !rsdp || (inside(rsdp, 20) && inside(rsdp, rsdp_len(rsdp)));
}

static bool modules_are_right(void)
{
	u64 list = get64(at + MODULES);
	u32 n = get32(at + NR_MODULES);

	if (n > BOOT_MODULES_MAX || (n && (!list || !inside(list, n * MODULE))))
		return false;
	for (u32 i = 0; i < n; i++)
		if ((u128)get64(list + i * MODULE) + get64(list + i * MODULE + 8) > ~0ull)
			return false;
	return !n || line_is_right(get64(list + 16));
}

static u32 map_entries(void) { return get32(at + VERSION) ? get32(at + NR_MAP) : 0; }

static bool map_is_right(void)
{
	u32 n = map_entries();
	u64 map, sum = 0;

	if (!n)
		return true;
	map = get64(at + MAP);
	if (n > BOOT_MEMORY_MAX || !map || !inside(map, n * ENTRY))
		return false;
	for (u32 i = 0; i < n; i++)
		sum |= get64(map + i * ENTRY + 8);
	return sum;
}

static bool is(const struct memory_range *r, u64 start, u64 end) { return r->start == start && r->end == end; }

// What must be kept, in the order of the fields: the next one of what is noted.
static unsigned nr_checked;
static void judge_taken(u64 start, u64 n)
{
	if (n)
		FUZZ_REQUIRE(nr_checked < info.nr_taken && is(&info.taken[nr_checked++], start, start + n));
}

// The string that is kept of one at `line`; 0: none.
static bool line_is(const char *kept, u64 line)
{
	size_t n = strnlen(kept, BOOT_CMDLINE_MAX);

	return n < BOOT_CMDLINE_MAX && (line ? !memcmp(kept, memory + line, n + 1) : !n);
}

static void judge_modules(void)
{
	u64 list = get64(at + MODULES);
	u32 n = get32(at + NR_MODULES);

	FUZZ_REQUIRE(line_is(info.module_line, n ? get64(list + 16) : 0));
	FUZZ_REQUIRE(info.nr_modules == n);
	judge_taken(list, n * MODULE);
	for (u32 i = 0; i < n; i++) {
		u64 start = get64(list + i * MODULE), size = get64(list + i * MODULE + 8);

		FUZZ_REQUIRE(is(&info.modules[i], start, start + size));
		judge_taken(start, size);
	}
}

static void judge_map(void)
{
	unsigned found = 0;

	for (u32 i = 0; i < map_entries(); i++) {
		u64 entry = get64(at + MAP) + i * ENTRY, start = get64(entry), size = get64(entry + 8);

		if (!size)
			continue;
		FUZZ_REQUIRE(found < info.nr_memory && is(&info.memory[found], start, (u64)MIN((u128)start + size, (u128)~0ull)));
		FUZZ_REQUIRE(info.memory[found++].usable == (get32(entry + 16) == 1));
	}
	FUZZ_REQUIRE(found == info.nr_memory);
}

static void judge(void)
{
	u64 line = get64(at + LINE), rsdp = get64(at + RSDP);

	nr_checked = 0;
	FUZZ_REQUIRE(info.pvh && !info.uefi && info.initial_domain == (get32(at + FLAGS) >> 1 & 1));
	judge_taken(at, get32(at + VERSION) ? SIZE_1 : SIZE_0);
	FUZZ_REQUIRE(line_is(info.cmdline, line));
	judge_taken(line, line ? strlen(info.cmdline) + 1 : 0);
	FUZZ_REQUIRE(rsdp ? info.rsdp_len == rsdp_len(rsdp) && !memcmp(info.rsdp, memory + rsdp, info.rsdp_len) : !info.rsdp_len);
	judge_modules();
	FUZZ_REQUIRE(nr_checked == info.nr_taken);
	judge_map();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	host_percpu_boot();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool right;

	if (size < sizeof(at))
		return -1;
	memcpy(&at, data, sizeof(at));
	memory_size = size - sizeof(at);
	memory = fuzz_exact(data + sizeof(at), memory_size);
	right = head_is_right() && line_is_right(get64(at + LINE)) && rsdp_is_right() && modules_are_right() && map_is_right();
	FUZZ_REQUIRE(!start_info_parse(memory, memory_size, at, &info) == right);
	if (right)
		judge();
	free((void *)memory);
	return 0;
}

// A mutation nearly always breaks the magic number or moves what a pointer leads to. Most inputs get the number again;
// in some, one pointer is drawn into memory.
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
	static const u8 pointers[] = { MODULES, LINE, RSDP, MAP };
	u32 magic = START_INFO_MAGIC, where;
	u64 pointer;

	size = LLVMFuzzerMutate(data, size, max);
	if (size < sizeof(where) + SIZE_1 || !(seed % 8))
		return size;
	memcpy(&where, data, sizeof(where));
	where %= (u32)(size - sizeof(where) - SIZE_1 + 1);
	memcpy(data, &where, sizeof(where));
	data += sizeof(where) + where;
	memcpy(data, &magic, sizeof(magic));
	if (seed % 8 == 1) {
		u8 *p = data + pointers[seed / 8 % ARRAY_SIZE(pointers)];

		memcpy(&pointer, p, sizeof(pointer));
		pointer %= size;
		memcpy(p, &pointer, sizeof(pointer));
	}
	return size;
}
