// SPDX-License-Identifier: MIT
// Contract: page-table entries and the direct map. The format is x86's, which the host shares. Levels count from the
// leaves: 1 = PT (4 KiB leaves), 2 = PD (2 MiB), 3 = PDPT (1 GiB), 4 = PML4, the root. The user half is the lower half
// of the root: 256 entries.
#pragma once
#include "kernel/atomic.h"
#include <impl/pte.h>	// DIRECT_MAP_BASE

#define PAGE_SHIFT 12
#define PAGE_SIZE (1ull << PAGE_SHIFT)
#define PT_BITS 9
#define PT_ENTRIES 512
#define PT_LEVELS 4
#define USER_ROOT_ENTRIES 256
#define USER_END (1ull << 47)		// one past the last user address
#define MMU_NR_PAGE_SIZES 3		// leaves at levels 1 … 3

static __always_inline unsigned level_shift(int level) { return PAGE_SHIFT + PT_BITS * (unsigned)(level - 1); }
static __always_inline u64 level_size(int level) { return 1ull << level_shift(level); }	// bytes under one entry
static __always_inline unsigned pt_index(vaddr_t va, int level) { return va >> level_shift(level) & (PT_ENTRIES - 1); }

typedef u64 pte_t;	// an entry of any level. Shared: only through pte_read, pte_write, pte_xchg, pte_cmpxchg
enum pte_bits {
	PTE_P = 1 << 0, PTE_W = 1 << 1, PTE_U = 1 << 2, PTE_PWT = 1 << 3, PTE_PCD = 1 << 4,
	PTE_A = 1 << 5, PTE_D = 1 << 6, PTE_PS = 1 << 7, PTE_G = 1 << 8,
	// Ours (and clear in the poison of freed tables): a leaf that nobody may use. P is clear, so the CPU ignores all else
	// (SDM vol. 3, 4.5).
	PTE_NONE = 1 << 10,
};
#define PTE_NX (1ull << 63)
#define PTE_ADDR 0x000ffffffffff000ull
enum prot { PROT_R = 1, PROT_W = 2, PROT_X = 4 };
extern pte_t pte_nx_mask;	// PTE_NX where the CPU has it, otherwise 0

// An entry publishes what it names: acquire and release, which are plain moves on x86.
static __always_inline pte_t pte_read(const pte_t *e) { return load_acquire(e); }
static __always_inline void pte_write(pte_t *e, pte_t v) { store_release(e, v); }
static __always_inline pte_t pte_xchg(pte_t *e, pte_t v) { return xchg(e, v); }
static __always_inline bool pte_cmpxchg(pte_t *e, pte_t old, pte_t v) { return cmpxchg(e, old, v); }

// Does the entry name a frame or a table (which, with PTE_NONE, nobody may use)?
static __always_inline bool pte_present(pte_t v) { return v & (PTE_P | PTE_NONE); }
static __always_inline bool pte_valid(pte_t v) { return v & PTE_P; }	// does hardware use it?
static __always_inline bool pte_leaf(pte_t v, int level) { return level == 1 || (v & PTE_PS); }
static __always_inline bool pte_writable(pte_t v) { return v & PTE_W; }
static __always_inline bool pte_user(pte_t v) { return v & PTE_U; }
static __always_inline bool pte_dirty(pte_t v) { return v & PTE_D; }
static __always_inline bool pte_accessed(pte_t v) { return v & PTE_A; }
// The frame or table named. A large leaf's bit 12 is PAT, never set here; the low bits below its size are zero.
static __always_inline paddr_t pte_addr(pte_t v) { return v & PTE_ADDR; }
// Present, and user mode may read it (write: also write it)?
static __always_inline bool pte_permits(pte_t v, bool write)
{
	pte_t need = PTE_P | PTE_U | (pte_t)write * PTE_W;

	return (v & need) == need;
}
// The same, and above level 1: it names a table.
static __always_inline bool pte_permits_below(pte_t v, bool write)
{
	pte_t need = PTE_P | PTE_U | (pte_t)write * PTE_W;

	return (v & (need | PTE_PS)) == need;
}
// The leaf with other permissions and everything else, A and D included, unchanged.
static __always_inline pte_t pte_with_prot(pte_t v, unsigned prot)
{
	v &= ~(pte_t)(PTE_P | PTE_NONE | PTE_W | PTE_NX | PTE_U);
	if (!(prot & PROT_R))
		return v | PTE_NONE;
	return v | PTE_P | PTE_U | (prot & PROT_W ? PTE_W : 0) | (prot & PROT_X ? 0 : pte_nx_mask);
}
// The bits that differ, without those that hardware sets by itself.
static __always_inline pte_t pte_diff(pte_t a, pte_t b) { return (a ^ b) & ~(pte_t)(PTE_A | PTE_D); }
static __always_inline bool pte_same(pte_t a, pte_t b) { return !pte_diff(a, b); }

static __always_inline pte_t pte_make_leaf(paddr_t pa, int level, unsigned prot)	// a user leaf
{
	return pte_with_prot(pa | (level > 1 ? PTE_PS : 0), prot);
}
// v, marked accessed and dirty where `from` is.
static __always_inline pte_t pte_with_use(pte_t v, pte_t from) { return v | (from & (PTE_A | PTE_D)); }
// v as hardware leaves it after an access.
static __always_inline pte_t pte_mark_used(pte_t v, bool dirty) { return v | PTE_A | (dirty ? PTE_D : 0); }
// A leaf or table entry with one right less, or with another address. For tests of what a walk refuses.
static __always_inline pte_t pte_without_valid(pte_t v) { return v & ~(pte_t)PTE_P; }
static __always_inline pte_t pte_without_write(pte_t v) { return v & ~(pte_t)PTE_W; }
static __always_inline pte_t pte_without_user(pte_t v) { return v & ~(pte_t)PTE_U; }
static __always_inline pte_t pte_with_addr(pte_t v, paddr_t pa) { return (v & ~PTE_ADDR) | pa; }
static __always_inline pte_t pte_make_table(paddr_t pa) { return pa | PTE_P | PTE_W | PTE_U; }

// The direct map of all RAM, from DIRECT_MAP_BASE on.
static __always_inline void *phys_to_virt(paddr_t pa) { return (void *)(DIRECT_MAP_BASE + pa); }
static __always_inline paddr_t virt_to_phys(const void *p) { return (uintptr_t)p - DIRECT_MAP_BASE; }	// direct map only

bool arch_has_page_size(int level);		// may a leaf stand at this level?

// The array of page descriptors (mm/frame/page.h), for page_init() on the boot CPU.
void *arch_page_map(u64 bytes);			// where it begins, not yet backed by memory; NULL: too large
void arch_page_map_back(void *at, paddr_t pa);	// back level_size(2) bytes of it with RAM; both aligned to that
