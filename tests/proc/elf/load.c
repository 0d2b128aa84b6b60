// SPDX-License-Identifier: MIT
// Loading: what is in memory afterwards, who may do what with it, and what has got no memory yet.
#include "kernel/errno.h"
#include "kernel/lib.h"
#include "lab/inject.h"
#include "lab/test.h"
#include "mm/region.h"
#include "proc/load.h"
#include "tests/mm/help.h"
#include "tests/proc/elf/file.h"

static struct elf_image image;
static struct program program;
static struct mm_balance balance;

// The thread runs in a new space from now on.
static bool enter(void)
{
	struct space *s;

	mm_balance_begin(&balance);
	s = space_create();
	if (!EXPECT(s))
		return false;
	space_attach(s);
	space_put(s);
	return true;
}

static void leave(void)
{
	space_detach();
	mm_balance_end(&balance);
}

static int load(u64 bias)
{
	if (!EXPECT(!elf_parse(&elf_file, sizeof(elf_file), &image)))
		return -EINVAL;
	return program_load(current->space, &elf_file, &image, bias, &program);
}

static u8 byte_at(vaddr_t va)
{
	u8 v = 0xee;

	EXPECT_EQ(copy_in(&v, va, 1), 0);
	return v;
}

// Is there, from va on, what the file has at `offset`?
static bool holds(vaddr_t va, u64 offset, u64 n)
{
	for (u64 i = 0; i < n; i++)
		if (byte_at(va + i) != elf_file.bytes[offset + i])
			return false;
	return true;
}

static bool zero(vaddr_t from, vaddr_t to)
{
	while (from < to)
		if (byte_at(from++))
			return false;
	return true;
}

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

static void expect_loaded(u64 bias)
{
	EXPECT(holds(CODE + bias, 0, CODE_SIZE) && zero(CODE + CODE_SIZE + bias, CONSTANTS + bias));
	EXPECT(holds(CONSTANTS + bias, CONSTANTS - CODE, CONSTANTS_SIZE));
	EXPECT(zero(CONSTANTS + CONSTANTS_SIZE + bias, CODE + 0x4000 + bias));
	EXPECT(zero(ALIGN_DOWN(DATA, PAGE_SIZE) + bias, DATA + bias) && holds(DATA + bias, DATA_OFFSET, DATA_SIZE));
	EXPECT(zero(DATA + DATA_SIZE + bias, DATA + DATA_SIZE + 0x2000 + bias));
	EXPECT(zero(program.brk_start - 8, program.brk_start));
}

TEST(elf, loaded, 0)
{
	elf_file_begin();
	REQUIRE(enter());
	EXPECT_EQ(load(0), 0);
	EXPECT_EQ(current->space->mapped, 3 + 1 + 2);		// nothing behind the data's bytes
	expect_loaded(0);
	EXPECT(program.entry == ENTRY && program.headers == CODE + 64 && program.nr_headers == 3);
	EXPECT(program.brk_start == ALIGN_UP(DATA + DATA_MEMORY, PAGE_SIZE));
	EXPECT(prot_at(CODE) == (PROT_R | PROT_X) && prot_at(CONSTANTS) == PROT_R && prot_at(DATA) == (PROT_R | PROT_W));
	EXPECT(prot_at(CODE - 1) == -1 && prot_at(CODE + 0x4000) == -1 && prot_at(program.brk_start) == -1);
	EXPECT_EQ(copy_out(CODE, "x", 1), -EFAULT);
	EXPECT_EQ(copy_out(CONSTANTS, "x", 1), -EFAULT);
	EXPECT_EQ(copy_out(DATA, "x", 1), 0);
	leave();
}

TEST(elf, loaded_elsewhere, 0)
{
	u64 bias;

	elf_file_begin_movable();
	REQUIRE(!elf_parse(&elf_file, sizeof(elf_file), &image));
	bias = elf_bias(&image, test_seed());
	REQUIRE(enter());
	EXPECT_EQ(load(bias), 0);
	EXPECT(program.entry == ENTRY - CODE + bias && program.headers == 64 + bias);
	EXPECT(program.brk_start == image.end + bias);
	expect_loaded(bias - CODE);
	EXPECT(prot_at(bias) == (PROT_R | PROT_X) && prot_at(bias - 1) == -1);
	leave();
}

// Four segments in two pages, the second of which is touched by all: the last one's permissions hold there, and
// everybody's bytes are in place.
TEST(elf, loaded_into_shared_pages, 0)
{
	elf_file_begin();
	elf_file.header.phnum = 0;
	elf_file.header.entry = CODE;
	elf_file_add(ELF_SEGMENT_LOAD, ELF_FLAG_R | ELF_FLAG_X, CODE, 0, 0x1100, 0x1100);
	elf_file_add(ELF_SEGMENT_LOAD, ELF_FLAG_R, CODE + 0x1100, 0x1100, 0x10, 0x20);
	elf_file_add(ELF_SEGMENT_LOAD, 0, CODE + 0x1200, 0x2200, 0x10, 0x10);
	elf_file_add(ELF_SEGMENT_LOAD, ELF_FLAG_R | ELF_FLAG_W, CODE + 0x1fff, 0x3fff, 2, 2);
	REQUIRE(enter());
	EXPECT_EQ(load(0), 0);
	EXPECT(holds(CODE, 0, 0x1110) && zero(CODE + 0x1110, CODE + 0x1200) && holds(CODE + 0x1200, 0x2200, 0x10));
	EXPECT(holds(CODE + 0x1fff, 0x3fff, 2) && zero(CODE + 0x2001, CODE + 0x3000));
	EXPECT(prot_at(CODE) == (PROT_R | PROT_X) && prot_at(CODE + 0x1000) == (PROT_R | PROT_W));
	EXPECT(program.brk_start == CODE + 0x3000);
	leave();
}

TEST(elf, loaded_out_of_reach, 0)
{
	elf_file_begin();
	elf_file.segments[1].flags = 0;
	REQUIRE(enter());
	EXPECT_EQ(load(0), 0);
	EXPECT(prot_at(CONSTANTS) == 0 && mm_faults(CONSTANTS) && holds(CODE, 0, 16));
	leave();
}

TEST(elf, not_loaded_over_others, 0)
{
	elf_file_begin();
	REQUIRE(enter());
	EXPECT_EQ(space_map(current->space, CONSTANTS, PAGE_SIZE, PROT_R, 1, 0), 0);
	EXPECT_EQ(load(0), -EEXIST);
	leave();
}

// Whichever allocation fails: an error that says so, and the end of the space gives everything back.
TEST(elf, not_loaded_without_memory, NEEDS_CHECK)
{
	bool fired = true;

	elf_file_begin();
	for (u64 n = 1; fired; n++) {
		REQUIRE(enter());
		inject_alloc_failure(n);
		EXPECT_EQ(load(0), inject_fired() ? -ENOMEM : 0);
		fired = inject_fired();
		inject_alloc_failure(0);
		EXPECT(fired || n > 6);		// pages alone
		leave();
	}
}
