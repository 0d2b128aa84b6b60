// SPDX-License-Identifier: MIT
// The adversary (DESIGN 5): a software MMU per CPU, as greedy as the manuals allow (Intel SDM vol. 3, 4.10; AMD APM
// vol. 2, 5.5), that caches leaves and table pointers of the user half and drops only what its CPU's own invalidations
// cover. The freeing of a table and the reuse of a data page assert that no CPU's software MMU names the page.
// Checking builds only. On the host build it is the only TLB there is. The protocol stands in swmmu.c.
#pragma once
#include "mm/frame/page.h"

struct space;
struct table_policy;

// How much one invalidation of an address drops beside the leaf.
enum swmmu_mode {
	SWMMU_X86,		// all table pointers of the loaded root (INVLPG)
	SWMMU_WEAKEST,		// those above the address, and only if the flush says freed_tables (arm64; INVLPGB final-only)
};
// What this CPU will drop by itself before it touches user memory again. A check that finds such an entry meanwhile
// marks it; all marked entries must be gone when the CPU returns to SWMMU_OWES_NOTHING.
enum swmmu_owes { SWMMU_OWES_NOTHING, SWMMU_OWES_LEAVES, SWMMU_OWES_ALL };

// Set this CPU's `owes` to `what` until the end of the enclosing block, which restores the former value: such blocks
// nest. IRQs off, or in an NMI.
#define SWMMU_OWING(what) \
	enum swmmu_owes _owed_before __attribute__((cleanup(swmmu_owed_end), unused)) = swmmu_owe(what)

#if CHECK
// This CPU's invalidations: mm/inval.h calls them after the hardware's. IRQs either way, NMIs included, preemption off.
void swmmu_flush_page(vaddr_t va, bool freed_tables);
void swmmu_flush_user(void);
void swmmu_flush_all(void);
void swmmu_load_root(paddr_t root);
void swmmu_joined(const struct space *s);	// s is loaded: note its policy and back-end, for reports

enum swmmu_owes swmmu_owe(enum swmmu_owes what);	// for SWMMU_OWING: returns the former value
// That CPU's TLB has been flushed by means that this kernel cannot see (by a hypervisor). All that its software MMU
// cached before counts as dropped, whatever range the flush was for, and the CPU drops it before it uses its software
// MMU again. So a hypercall for too few pages goes undetected here. To be called after the flush; any context.
void swmmu_vouch(unsigned cpu);

// Cache something, at random, along the loaded root's tables; bounded. IRQs off, or in an NMI.
void swmmu_speculate(void);
void swmmu_speculate_rarely(void);	// one time in eight

bool swmmu_table_freed(const struct page *table, const struct table_policy *p);	// true: some CPU may still walk it
void swmmu_page_freed(const struct page *head, unsigned order);	// a PAGE_ANON block: no CPU may still have a leaf of it

// One access to user memory by way of this TLB, accessed and dirty bits as hardware sets them: for the host build,
// which has no other. False: a page fault. No interrupt and no NMI may come between this and the access itself.
bool swmmu_access(vaddr_t va, bool write, paddr_t *pa);
#else
static __always_inline void swmmu_flush_page(vaddr_t va, bool freed_tables) { }
static __always_inline void swmmu_flush_user(void) { }
static __always_inline void swmmu_flush_all(void) { }
static __always_inline void swmmu_load_root(paddr_t root) { }
static __always_inline void swmmu_joined(const struct space *s) { }
static __always_inline enum swmmu_owes swmmu_owe(enum swmmu_owes what) { return what; }
static __always_inline void swmmu_vouch(unsigned cpu) { }
static __always_inline void swmmu_speculate_rarely(void) { }
static __always_inline bool swmmu_table_freed(const struct page *table, const struct table_policy *p) { return false; }
#endif

static __always_inline void swmmu_owed_end(const enum swmmu_owes *before) { swmmu_owe(*before); }

// For tests, in checking builds only.
// That CPU walks to va as its hardware would: from the entries that it has cached, even if memory has changed since. It
// caches all entries that it reads, and random filling does not replace them. True: the walk reached a leaf. By a
// cross-CPU call (IRQs on), or directly on the own CPU (any context).
bool swmmu_prime(unsigned cpu, vaddr_t va);
bool swmmu_has_leaf(unsigned cpu, vaddr_t va);
bool swmmu_has_table(unsigned cpu, vaddr_t va, int level);	// a pointer to the table of `level` through which va goes
void swmmu_set_mode(enum swmmu_mode mode);			// all CPUs; a test restores SWMMU_X86
void swmmu_quiet(bool on);	// nesting: no filling at random meanwhile, on any CPU, so that only what is primed is there
