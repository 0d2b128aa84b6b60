// SPDX-License-Identifier: MIT
// The kernel half of the address space.
//
//   ffff8000'00000000  direct map of all RAM: NX, the largest pages that fit; the image's text and rodata read-only
//   ffffc000'00000000  page descriptors (mm/frame/page.h): NX, 2 MiB pages where there is RAM to describe, nothing elsewhere
//   ffffd000'00000000  windows on device memory and firmware tables, never unmapped
//   ffffe000'00000000  stacks: slots of 32 KiB, 16 KiB unmapped (the guard) below 16 KiB of stack
//   ffffffff'80000000  the image, 4 KiB pages: text r-x, rodata r--, data rw-
//
// Root entries of all five areas are in place before the first other root is made, and none of their tables is ever
// freed.
#pragma once
#include <arch/pte.h>

#define DIRECT_MAP_MAX (64ull << 40)		// bytes of physical space that fit
#define PAGE_MAP_BASE 0xffffc00000000000ull	// one descriptor of 64 bytes for each frame below DIRECT_MAP_MAX: 1 TiB
#define WINDOWS_BASE 0xffffd00000000000ull
#define STACKS_BASE 0xffffe00000000000ull
#define STACK_AREA_SIZE (1ull << 39)		// the stacks and the windows have so much each: one root entry
#define IMAGE_BASE 0xffffffff80000000ull	// virtual = physical + IMAGE_BASE
#define PTE_CACHE_OFF (PTE_PCD | PTE_PWT)	// PAT entry 3 at its reset value: uncacheable
#define PTE_PAT_SMALL (1ull << 7)		// leaves of level 1 only: with the two above clear, PAT entry 4 (cpu.h)

#define FIRST_TABLES_MAP (4ull << 30)		// bytes from 0 on that the first tables map (entry.asm): all that a loader can name

static inline paddr_t image_to_phys(const void *p) { return (uintptr_t)p - IMAGE_BASE; }

// Windows; NULL: out of memory. Any alignment, any length. IRQs either way.
void *arch_map_mmio(paddr_t pa, size_t len);		// uncached, writable. NULL also where ram_mmio_error() says why
void *arch_map_framebuffer(paddr_t pa, size_t len);	// write-combining, or uncached if the CPU has no PAT; writable
void *arch_map_shared(paddr_t pa, size_t len);		// cached, writable: what a hypervisor shares with us
void *arch_map_firmware(paddr_t pa, size_t len);	// cached, read-only: ACPI tables. RAM is reached by the direct map instead

void kmap_init(void);		// boot CPU, before anything else allocates: build the kernel root
// Map [va, va+len) -> pa with flags (PTE_W, PTE_G, NX …) and the largest leaves up to max_level. False: out of memory.
// Only entries that are not present yet are written, so nothing needs to be flushed.
bool kmap_range(uintptr_t va, paddr_t pa, u64 len, pte_t flags, int max_level);
pte_t kmap_leaf(uintptr_t va, int *level);	// the entry that maps va in the kernel root; 0: none
