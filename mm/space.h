// SPDX-License-Identifier: MIT
// Address spaces: the user half of a page-table tree, the regions that say what may be there, and the CPUs that have it
// loaded.
//
// Keep-alive: a space lives while its user count is not 0. Each thread that runs in it holds a count, and so must
// anybody who walks or changes it from outside. CPUs in lazy TLB mode (they run a kernel thread and have left CR3
// alone) hold none: the last space_put() makes them leave before the root is freed.
#pragma once
#include "kernel/cpumask.h"
#include "kernel/mutex.h"
#include "mm/policy/policy.h"

struct object;

enum region_flags {
	REGION_SHARED = 1,	// backed by an object: what is written is its
	REGION_LOCKED = 2,	// mlock(): its pages are not given up
	REGION_ON_FAULT = 4,	// … and are not brought in ahead of time
	REGION_GROWSDOWN = 8,	// a stack: a fault below its start extends it, down to space.stack_limit
};
// What two neighbours must have in common to be one region.
struct region_kind {
	u8 prot;		// enum prot; 0: nothing may touch it
	u8 level;		// of the leaves: 1 = 4 KiB, 2 = 2 MiB, 3 = 1 GiB. 1 with an object
	u8 flags;		// enum region_flags
	struct object *object;	// NULL: private zeroed memory
	u64 offset;		// in the object, of the region's start
};

struct region {			// [start, end) may be touched with `prot`; backed by zeroed memory on demand
	struct list link;	// sorted by address; guarded by space.lock
	vaddr_t start, end;
	u8 prot, level, flags;	// as in region_kind
	u8 height;		// of the subtree below; this, and what comes last, is region_tree.c's
	struct object *object;	// of which it holds a count
	u64 offset;
	struct region *left, *right;
	vaddr_t first, last;	// what the subtree spans
	u64 largest_hole;	// in the subtree, between two regions
};

struct space {
	// Read by walkers.
	pte_t *root;
	paddr_t root_pa;
	const struct table_policy *policy;	// the selector: read with preemption off. Written by space_select()
	walk_one_fn *walk_one[2];		// the walks to call under it; a hint only: it may be read at any time
	const struct table_policy *union_of[2];	// the union's two parts, while it is selected. By switch.c
	u64 moves;				// moves begun so far (move.c). Written under lock

	// Written by unmappers, read by CPUs that load the space.
	u64 gen __cacheline;		// counts flushes; see tlb.h
	const struct table_policy *freer;	// unmappers call its `free`; `policy`, except in a switch. Under lock
	const struct flush_backend *backend;	// under lock
	// Written by context switches.
	struct cpumask cpus __cacheline;	// CPUs that have the root loaded, lazily or not
	// Written by walkers that have another space loaded, under policies that ask for it.
	struct cpumask walkers __cacheline;

	struct mutex lock __cacheline;	// regions, and every change of the tree
	struct list regions;
	struct region *region_tree;	// of the same, once there are many (region.c)
	u64 nr_regions;
	u64 stack_limit;		// bytes that a region that grows down may grow to; written without the lock
	u64 users;		// a get never fails, so this must not wrap
	u64 deferred;			// records of deferred flushes (flush/flush.h). Read without the lock
	u64 mapped;			// 4 KiB units mapped by leaves; under lock
	struct list aside;		// tables that its policy has laid aside (mm/table.h); under lock
	struct list all_link;		// all spaces: under space.c's list lock
	struct list switch_link;	// those that are being switched: one switch at a time
};

// Walkers that read the selector from now on find p.
static inline void space_select(struct space *s, const struct table_policy *p)
{
	for (int write = 0; write < 2; write++)
		WRITE_ONCE(s->walk_one[write], p->walk_one[write]);
	store_release(&s->policy, p);	// pairs with walk_selected(); s->union_of was stored before
}

// A new empty space under the default policy and back-end; NULL: out of memory. The creator holds one user count.
struct space *space_create(void);
// NULL: the default of that axis.
struct space *space_create_with(const struct table_policy *p, const struct flush_backend *b);
void space_get(struct space *s);
void space_put(struct space *s);	// the last one unmaps and frees everything. May sleep
// For switches: from here on new spaces start with that pair. space_take_all() also takes a count of every space that
// still has a user, and links it into *taken by switch_link.
void space_set_default(const struct table_policy *p, const struct flush_backend *b);	// the default alone
void space_take_all(struct list *taken, const struct table_policy *p, const struct flush_backend *b);

// From now on the calling thread runs in s (takes a count) or in no space (drops it; the CPU holds s lazily). May
// sleep.
void space_attach(struct space *s);
void space_detach(void);

enum { MAP_POPULATE = 1 };
// For all of these: addresses and lengths in bytes, multiples of the page size concerned; may sleep; the caller holds a
// count. -EINVAL: misaligned, empty, or outside the user half; or a boundary would cut a large page.
// Map [va, va+len) with leaves of `level`. -EEXIST: overlaps a region. -ENOMEM: nothing was changed.
int space_map(struct space *s, vaddr_t va, u64 len, unsigned prot, int level, unsigned flags);
// Unmap whatever is there; holes are fine. On return no access can reach the frames, and all emptied tables are FLUSHED
// and passed to the policy, unless the policy keeps them linked. Under a back-end that defers (tlb_flush=lazy) the tables
// may be only UNLINKED on return, and other CPUs may reach the old frames for a while, during which these are not reused.
// -ENOMEM: a region had to be split; -EBUSY: a boundary would cut a collapsed page that cannot be split (see
// space_split); nothing was changed.
int space_unmap(struct space *s, vaddr_t va, u64 len);
// The same, but on return no access can reach what was there, whatever the back-end and whoever unmapped it: for callers
// that hand on the frames or the addresses at once.
int space_unmap_sync(struct space *s, vaddr_t va, u64 len);
// Change permissions of what is mapped or may be. -ENOENT: a hole; what lies before it has been changed. -ENOMEM, -EBUSY: as
// above.
int space_protect(struct space *s, vaddr_t va, u64 len, unsigned prot);
// Make the page at va present with the wanted permission, PROT_R, PROT_W or PROT_X: 0; -EFAULT: no region, and none that
// grows down to va; -EACCES: the region does not permit it; -ENXIO: behind the end of the region's object; -ENOMEM.
// Writing and executing need PROT_R, too, as the entries of page tables do.
int space_fault_access(struct space *s, vaddr_t va, unsigned access);
// The same for reading or writing; all but -ENOMEM is -EFAULT. va is in the user half.
int space_fault(struct space *s, vaddr_t va, bool write);
int space_fault_current(vaddr_t va, bool write);	// of the space that the current thread runs in; -EFAULT if none
// Drop the pages of the range (MADV_DONTNEED); the regions stay, so that the next touch finds zeroes; holes are fine. On
// return no access can reach the old frames; tables that nothing has refilled meanwhile are passed to the policy.
// -EBUSY: as above.
int space_discard(struct space *s, vaddr_t va, u64 len);
// Move a mapping (mremap) to a disjoint range: what was reached at old_va + x is reached at new_va + x, and nothing at
// old_va. Whole tables move by their entries, where both ranges have them; elsewhere pages by theirs. -ENOENT: a hole in the
// old range; -EEXIST: a region in the new one; -EINVAL: also a 1 GiB page in the range, or a large page that would be cut
// or not be aligned; -EBUSY: a collapsed page would be cut or not be aligned, and cannot be split; -ENOMEM. On failure
// nothing was changed.
int space_move(struct space *s, vaddr_t old_va, vaddr_t new_va, u64 len);
// The 512 pages of the aligned 2 MiB at va, all present in one region of small pages, become one large page with the same
// contents. The region stays one of small pages: an operation that later cuts the large page splits it. -ENOENT: not all
// are present in one region; -EINVAL: a region of large pages, or of an object; -EEXIST: collapsed already; -EBUSY: one of them is
// pinned; -ENOMEM.
int space_collapse(struct space *s, vaddr_t va);
// The other way, for the collapsed page around va; takes no memory. -ENOENT: none there; -EINVAL: its region is one of
// 2 MiB pages; -EBUSY: it is pinned.
int space_split(struct space *s, vaddr_t va);

void space_init(void);
bool space_range_ok(vaddr_t va, u64 len, u64 unit);	// aligned, not empty, inside the user half: for the operations
u64 space_count(void);			// spaces that exist (tests)
