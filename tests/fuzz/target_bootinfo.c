// SPDX-License-Identifier: MIT
// Boot information: the first 16 bytes say where the processor's physical space ends and where the kernel's image lies,
// the rest is what the boot loader would have left. The map that is built of it must hold exactly the frames that a
// slow check of every entry accepts.
#include <stdlib.h>
#include "arch/x86_64/bootinfo.h"
#include "arch/x86_64/multiboot2_parse.h"
#include "arch/x86_64/ram_map_parse.h"
#include "kernel/lib.h"
#include "arch/host/host.h"
#include <arch/pte.h>
#include "tests/fuzz/fuzz.h"

#define LIMIT_MAX (64ull << 40)		// the direct map's (arch/x86_64/kmap.h)
#define MOST_FRAMES_TRIED 128		// edges of entries: the slow check costs entries * edges

struct head {
	u32 limit_pages, image_page;
	u64 image_len;
};

static struct boot_info info;
static struct ram_map map;

static void judge_info(size_t size)
{
	FUZZ_REQUIRE(info.nr_memory && info.nr_memory <= BOOT_MEMORY_MAX);
	FUZZ_REQUIRE(strnlen(info.cmdline, sizeof(info.cmdline)) < MIN(sizeof(info.cmdline), size));
	FUZZ_REQUIRE(strnlen(info.module_line, sizeof(info.module_line)) < MIN(sizeof(info.module_line), size));
	FUZZ_REQUIRE(info.rsdp_len == 0 || info.rsdp_len == 20 || info.rsdp_len == 36);
	for (unsigned i = 0; i < info.nr_memory; i++)
		FUZZ_REQUIRE(info.memory[i].start <= info.memory[i].end);	// equal: at the last address
}

// A framebuffer that is not refused can be written to as a whole, and no usable RAM is hit.
static void judge_framebuffer(paddr_t limit)
{
	const struct framebuffer *f = &info.framebuffer;

	if (!f->given || framebuffer_check(&info, limit))
		return;
	FUZZ_REQUIRE(f->base && f->base < limit && framebuffer_bytes(f) <= limit - f->base);
	FUZZ_REQUIRE(f->width && f->height && (u64)f->width * ((f->bits + 7u) / 8) <= f->pitch);
	for (unsigned i = 0; i < info.nr_memory; i++)
		FUZZ_REQUIRE(!info.memory[i].usable || info.memory[i].end <= f->base ||
			     f->base + framebuffer_bytes(f) <= info.memory[i].start);
}

static bool in_map(paddr_t pa)
{
	for (unsigned i = 0; i < map.n; i++)
		if (map.r[i].start <= pa && pa < map.r[i].end)
			return true;
	return false;
}

// Is the frame at pa usable? Some usable entry holds all of it, and no reserved entry any of it.
static bool usable(paddr_t pa, paddr_t limit)
{
	bool found = false;

	if (pa >= limit)
		return false;
	for (unsigned i = 0; i < info.nr_memory; i++) {
		const struct memory_range *e = &info.memory[i];
		bool whole = e->start <= pa && pa + PAGE_SIZE <= e->end;

		if (!e->usable && e->start < pa + PAGE_SIZE && pa < e->end)
			return false;
		found |= e->usable && whole;
	}
	return found;
}

static void judge_order(paddr_t limit)
{
	for (unsigned i = 0; i < map.n; i++) {
		const struct memory_range *r = &map.r[i];

		FUZZ_REQUIRE(r->start < r->end && r->end <= limit && !((r->start | r->end) % PAGE_SIZE));
		FUZZ_REQUIRE(!i || map.r[i - 1].end < r->start);
	}
}

// A byte of registers at pa is refused exactly if its frame is in the map, or there is no such address.
static bool mmio_is_right(paddr_t pa, paddr_t limit)
{
	return !ram_map_mmio_error(&map, pa, 1, limit) == (pa < limit && !in_map(pa));
}

// The frames around each edge, before and after [gone, gone_end) is taken out.
static void judge_frames(paddr_t limit, paddr_t gone, paddr_t gone_end)
{
	for (unsigned i = 0; i < MIN(info.nr_memory, MOST_FRAMES_TRIED / 2u); i++) {
		for (int k = -1; k <= 1; k++) {
			paddr_t a = ALIGN_DOWN(info.memory[i].start, PAGE_SIZE) + (u64)k * PAGE_SIZE;
			paddr_t b = ALIGN_DOWN(info.memory[i].end, PAGE_SIZE) + (u64)k * PAGE_SIZE;

			FUZZ_REQUIRE(in_map(a) == (usable(a, limit) && !(gone <= a && a < gone_end)));
			FUZZ_REQUIRE(in_map(b) == (usable(b, limit) && !(gone <= b && b < gone_end)));
			FUZZ_REQUIRE(mmio_is_right(a, limit) && mmio_is_right(b, limit));
		}
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	host_percpu_boot();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct head h;
	paddr_t limit, image, image_end;
	void *buf;

	if (size < sizeof(h))
		return -1;
	memcpy(&h, data, sizeof(h));
	limit = MIN((u64)h.limit_pages << PAGE_SHIFT, LIMIT_MAX);
	image = (u64)h.image_page << PAGE_SHIFT;
	image_end = image + ALIGN_DOWN(h.image_len % (1ull << 40), PAGE_SIZE);
	buf = fuzz_exact(data + sizeof(h), size - sizeof(h));
	if (!multiboot2_parse(buf, size - sizeof(h), &info)) {
		judge_info(size);
		judge_framebuffer(limit);
		if (ram_map_build(&map, info.memory, info.nr_memory, limit)) {
			judge_order(limit);
			judge_frames(limit, 0, 0);
			if (ram_map_remove(&map, image, image_end)) {
				judge_order(limit);
				judge_frames(limit, image, image_end);
			}
		}
	}
	free(buf);
	return 0;
}

// A mutation of the size breaks the length in the header: most inputs get the right one again.
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
	u32 total;

	size = LLVMFuzzerMutate(data, size, max);
	total = (u32)(size - sizeof(struct head));
	if (size >= sizeof(struct head) + sizeof(total) && seed % 4)
		memcpy(data + sizeof(struct head), &total, sizeof(total));
	return size;
}
