// SPDX-License-Identifier: MIT
// RAM, and a memory-management unit: every access to user memory goes through the adversary's TLB (lab/swmmu.h), which
// is the only one there is.
#include "kernel/errno.h"
#include "kernel/panic.h"
#include "kernel/thread.h"
#include "lab/counter.h"
#include "lab/swmmu.h"
#include "mm/frame/page.h"
#include "mm/space.h"
#include <arch/machine.h>
#include <arch/pte.h>
#include <arch/percpu.h>
#include "arch/host/host.h"
#include "arch/host/os.h"
#include <arch/tlb.h>
#include <arch/uaccess.h>

// So that no code relies on RAM in one piece: a hole as on old PCs, and three eighths of the RAM far away, up to where
// a whole section has no neighbour to merge with. What is not RAM cannot be accessed.
#define RAM_START (1ull << 20)
#define HOLE_START (15ull << 20)
#define HOLE_END (16ull << 20)
#define FAR_END_OFFSET (5 * SECTION_SIZE)	// in its GiB

uintptr_t host_ram;
pte_t pte_nx_mask = PTE_NX;
enum host_map host_map;
static paddr_t low_end, far_start, ram_end;
static paddr_t kernel_root;
static DEFINE_PER_CPU(paddr_t, loaded_root);

void host_ram_init(u64 bytes)
{
	low_end = bytes / 8 * 5;
	ram_end = ALIGN_UP(low_end + bytes, level_size(3)) + FAR_END_OFFSET;
	far_start = ram_end - (bytes - low_end + RAM_START + HOLE_END - HOLE_START);
	host_ram = (uintptr_t)os_reserve(ram_end);
	if (!host_ram || !os_allow(phys_to_virt(0), RAM_START, false) ||
	    !os_allow(phys_to_virt(HOLE_START), HOLE_END - HOLE_START, false) ||
	    !os_allow(phys_to_virt(low_end), far_start - low_end, false))
		os_exit(1);
}

// The array gets memory of its own; the frames that page_init() takes for it stay unused. Behind its end, for the
// length of a largest block's descriptors, nothing can be accessed, so that a look beyond the end is caught.
void *arch_page_map(u64 bytes)
{
	void *map = os_reserve(bytes += sizeof(struct page) << MAX_ORDER);

	return map && os_allow(map, bytes, false) ? map : NULL;
}

void arch_page_map_back(void *at, paddr_t pa)
{
	if (!os_allow(at, level_size(2), true))
		panic("no memory for page descriptors");
}

// As a broken firmware might report it: pieces of less than a page, a range that ends before it begins, one twice, and
// memory at an address that is absurd.
static void for_each_absurd(void (*fn)(paddr_t start, paddr_t end))
{
	fn(16, PAGE_SIZE - 16);
	fn(RAM_START, HOLE_START / 2 + 123);
	fn(RAM_START + PAGE_SIZE, HOLE_START / 2);
	fn(HOLE_START, HOLE_START - PAGE_SIZE);
	fn(HOLE_END, low_end);
	fn(ALIGN_UP(far_start, SECTION_SIZE) - (1 << 20), ram_end);	// begins in a section of which it is all, and little
	fn(1ull << 50, (1ull << 50) + PAGE_SIZE);
}

// More pieces than the kernel keeps.
static void for_each_piece(void (*fn)(paddr_t start, paddr_t end))
{
	u64 pieces = 400;

	fn(HOLE_END, low_end);
	fn(far_start, ram_end - 2 * pieces * PAGE_SIZE);
	for (u64 i = 0; i < pieces; i++)
		fn(ram_end - (2 * (pieces - i) - 1) * PAGE_SIZE, ram_end - 2 * (pieces - i - 1) * PAGE_SIZE);
}

void arch_for_each_ram(void (*fn)(paddr_t start, paddr_t end))
{
	if (host_map == MAP_ABSURD) {
		for_each_absurd(fn);
	} else if (host_map == MAP_PIECES) {
		for_each_piece(fn);
	} else {
		fn(RAM_START, HOLE_START);
		fn(HOLE_END, low_end);
		fn(far_start, ram_end);
	}
}

u64 arch_ram_bytes(void) { return low_end - RAM_START - (HOLE_END - HOLE_START) + ram_end - far_start; }

void arch_init_memory(void)
{
	struct page *root = page_alloc(0, PAGE_KERNEL, PG_ZERO | PG_NOFAIL_INJECT);

	if (!root)
		panic("no memory for the kernel's root");
	kernel_root = page_to_phys(root);
	this_cpu_write(loaded_root, kernel_root);
}

bool arch_has_page_size(int level) { return level >= 1 && level <= MMU_NR_PAGE_SIZES; }
void arch_root_init(pte_t *root) { }	// the kernel half is the process's own
paddr_t arch_kernel_root(void) { return kernel_root; }
void arch_load_root(paddr_t root)
{
	count(cr3_writes);
	this_cpu_write(loaded_root, root);
}

paddr_t arch_current_root(void)
{
	paddr_t root = this_cpu_read(loaded_root);

	return root ? root : kernel_root;
}
void arch_flush_user(void) { ASSERT(!irqs_enabled()); }	// mm/inval.h flushes the TLB
void arch_flush_all(void) { }

// The byte at va, or NULL.
static u8 *translate(vaddr_t va, bool write)
{
	paddr_t pa;

	return swmmu_access(va, write, &pa) ? phys_to_virt(pa) : NULL;
}

// False: *fault says where it failed, and nothing was touched. No interrupt, no NMI.
static bool access_unbroken(vaddr_t va, u64 *value, bool write, vaddr_t *fault)
{
	vaddr_t second = ALIGN_UP(va + 1, PAGE_SIZE);	// where the next page begins, if the access reaches it
	u8 *p = current->space ? translate(va, write) : NULL, *q = p;	// in lazy TLB mode it must not be touched

	*fault = va;
	if (!p)
		return false;
	if (va % sizeof(u64) == 0) {
		if (write)
			__atomic_store_n((u64 *)p, *value, __ATOMIC_RELAXED);
		else
			*value = __atomic_load_n((u64 *)p, __ATOMIC_RELAXED);
		return true;
	}
	if (second < va + sizeof(u64)) {
		*fault = second;
		q = translate(second, write);
		if (!q)
			return false;
	}
	for (vaddr_t i = 0; i < sizeof(u64); i++) {
		u8 *from_to = va + i < second ? p + i : q + (va + i - second);

		if (write)
			__atomic_store_n(from_to, ((u8 *)value)[i], __ATOMIC_RELAXED);
		else
			((u8 *)value)[i] = __atomic_load_n(from_to, __ATOMIC_RELAXED);
	}
	return true;
}

// One access, as hardware does it: between the first look at the tables and the end of the access this CPU takes neither
// interrupt nor NMI, so that a CPU that waits for the answer to a flush waits for the access, too.
struct unbroken {
	struct host_irq *irq;
	irqflags_t flags;
	u8 nmi_blocked;
};

static struct unbroken unbroken_begin(void)
{
	struct unbroken u = { .flags = irq_save() };	// first: from here on this thread stays on its CPU

	u.irq = host_this(host_irq);
	u.nmi_blocked = u.irq->nmi_blocked;
	u.irq->nmi_blocked = 1;
	barrier();
	return u;
}

static void unbroken_end(const struct unbroken *u)
{
	barrier();
	u->irq->nmi_blocked = u->nmi_blocked;
	irq_restore(u->flags);
}

static bool access_user(vaddr_t va, u64 *value, bool write, vaddr_t *fault)
{
	struct unbroken u = unbroken_begin();
	bool ok = access_unbroken(va, value, write, fault);

	unbroken_end(&u);
	return ok;
}

// A futex's word, which lies in one page. Replaced by v if `swap` and it is *value; *value is what was there.
static bool word_unbroken(vaddr_t va, u32 *value, bool swap, u32 v)
{
	u32 *p = current->space && va % sizeof(u32) == 0 ? (u32 *)translate(va, swap) : NULL;

	if (!p)
		return false;
	if (swap)
		__atomic_compare_exchange_n(p, value, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	else
		*value = __atomic_load_n(p, __ATOMIC_RELAXED);
	return true;
}

static int access_word(vaddr_t va, u32 *value, bool swap, u32 v)
{
	struct unbroken u = unbroken_begin();
	bool ok = word_unbroken(va, value, swap, v);

	unbroken_end(&u);
	return ok ? 0 : -EFAULT;
}

int arch_user_read32_nofault(vaddr_t va, u32 *out) { return access_word(va, out, false, 0); }

int arch_user_cmpxchg32_nofault(vaddr_t va, u32 expected, u32 v, u32 *old)
{
	*old = expected;
	return access_word(va, old, true, v);
}

// space_fault_current() makes the page present. It may be unmapped again before the next access: try again then.
static int access_or_fault(vaddr_t va, u64 *value, bool write)
{
	vaddr_t fault;

	while (!access_user(va, value, write, &fault))
		if (space_fault_current(fault, write))
			return -EFAULT;
	return 0;
}

int arch_user_read64(vaddr_t va, u64 *out) { return access_or_fault(va, out, false); }
int arch_user_write64(vaddr_t va, u64 v) { return access_or_fault(va, &v, true); }

int arch_user_read64_nofault(vaddr_t va, u64 *out)
{
	vaddr_t fault;

	return access_user(va, out, false, &fault) ? 0 : -EFAULT;
}

int arch_user_write64_nofault(vaddr_t va, u64 v)
{
	vaddr_t fault;

	return access_user(va, &v, true, &fault) ? 0 : -EFAULT;
}
