// SPDX-License-Identifier: MIT
// Address spaces: the user half of a page-table tree, the regions that say what may be there, and the CPUs that have it
// loaded.
//
// Keep-alive: a space lives while its user count is not 0. Threads that run in it hold one count each, and so must
// whoever walks or changes it from outside. CPUs that hold it lazily (kernel threads run there, CR3 was left alone)
// hold none: the last space_put() moves them away before the root is freed.
#pragma once
#include "kernel/cpumask.h"
#include "kernel/mutex.h"
#include "mm/policy.h"

struct thread;

struct region {			// [start, end) may be touched with `prot`; backed by zeroed memory on demand
	struct list link;	// sorted by address; guarded by space.lock
	vaddr_t start, end;
	u8 prot;		// enum prot; 0: nothing may touch it
	u8 level;		// of the leaves: 1 = 4 KiB, 2 = 2 MiB, 3 = 1 GiB
};

struct space {
	// Read by walkers.
	pte_t *root;
	paddr_t root_pa;
	const struct table_policy *policy;
	const struct flush_backend *backend;

	// Written by unmappers, read by CPUs that load the space.
	u64 gen __cacheline;		// counts flushes; see tlb.h
	// Written by switches.
	struct cpumask cpus __cacheline;	// CPUs that have the root loaded, lazily or not
	// Written by walkers that have another space loaded, under policies that ask for it.
	struct cpumask walkers __cacheline;

	struct mutex lock __cacheline;	// regions, and every change of the tree
	struct list regions;
	u32 users;
	u64 mapped;			// 4 KiB units mapped by leaves; under lock
};

// A new empty space under the default policy and back-end; NULL: out of memory. The creator holds one user count.
struct space *space_create(void);
struct space *space_create_with(const struct table_policy *p, const struct flush_backend *b);
void space_get(struct space *s);
void space_put(struct space *s);	// the last one unmaps and frees everything. May sleep

// The calling thread from now on runs in s (takes a count) or in no space (drops it; the CPU holds s lazily). May
// sleep.
void space_attach(struct space *s);
void space_detach(void);

enum { MAP_POPULATE = 1 };
// All: addresses and lengths in bytes, multiples of the page size concerned; may sleep; the caller holds a count.
// -EINVAL: misaligned, empty, or outside the user half; or a boundary would cut a large page.
// Map [va, va+len) with leaves of `level`. -EEXIST: overlaps a region. -ENOMEM: nothing was changed.
int space_map(struct space *s, vaddr_t va, u64 len, unsigned prot, int level, unsigned flags);
// Unmap whatever is there; holes are fine. On return no access can reach the frames and all emptied tables have passed
// through UNLINKED and FLUSHED and were given to the policy. -ENOMEM: a region had to be split; nothing was changed.
int space_unmap(struct space *s, vaddr_t va, u64 len);
// Change permissions of what is mapped or may be. -ENOENT: a hole. -ENOMEM: as above.
int space_protect(struct space *s, vaddr_t va, u64 len, unsigned prot);
// Make the page at va present with the wanted permission: 0, -EFAULT (no region, or not permitted), -ENOMEM.
int space_fault(struct space *s, vaddr_t va, bool write);
int space_fault_current(vaddr_t va, bool write);	// of the space that the current thread runs in; -EFAULT if none

// From schedule(), IRQs off: load next's space, or become lazy.
void space_switch(struct thread *prev, struct thread *next);
void space_init(void);
u64 space_count(void);			// spaces that exist (tests)
