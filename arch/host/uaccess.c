// SPDX-License-Identifier: MIT
// User memory: every access goes through the adversary's TLB (lab/swmmu.h), which is the only one there is.
#include "arch/host/uaccess.h"
#include "arch/host/irq.h"
#include "kernel/errno.h"
#include "kernel/lib.h"
#include "kernel/panic.h"
#include "kernel/preempt.h"
#include "kernel/thread.h"
#include "lab/swmmu.h"
#include "mm/space.h"
#include <arch/pte.h>
#include <arch/uaccess.h>

// The byte at va, or NULL. In lazy TLB mode user memory must not be touched.
static u8 *translate(vaddr_t va, bool write)
{
	paddr_t pa;

	return current->space && swmmu_access(va, write, &pa) ? phys_to_virt(pa) : NULL;
}

// Between the first look at the tables and the end of the access this CPU takes neither interrupt nor NMI, so that a
// CPU that waits for the answer to a flush waits for the access, too.
struct unbroken {
	irqflags_t flags;
	u8 nmi_blocked;
};

static struct unbroken unbroken_begin(void)
{
	struct unbroken u = { .flags = irq_save() };	// first: from here on this thread stays on its CPU
	struct host_irq *i = host_this(host_irq);

	u.nmi_blocked = i->nmi_blocked;
	i->nmi_blocked = 1;
	barrier();
	return u;
}

static void unbroken_end(struct unbroken u)
{
	barrier();
	host_this(host_irq)->nmi_blocked = u.nmi_blocked;
	irq_restore(u.flags);
}

// What hardware moves in one piece.
#define DEFINE_MOVE(name, type) \
static void name(type *p, void *data, bool write) \
{ \
	type v; \
\
	if (write) { \
		memcpy(&v, data, sizeof(v)); \
		__atomic_store_n(p, v, __ATOMIC_RELAXED); \
	} else { \
		v = __atomic_load_n(p, __ATOMIC_RELAXED); \
		memcpy(data, &v, sizeof(v)); \
	} \
}
DEFINE_MOVE(move64, u64)
DEFINE_MOVE(move32, u32)

// By the largest pieces: what hardware reads or writes in one piece is one piece here, too.
static void move(u8 *p, u8 *data, size_t n, bool write)
{
	for (size_t piece; n; p += piece, data += piece, n -= piece) {
		uintptr_t at = (uintptr_t)p;

		piece = n >= 8 && at % 8 == 0 ? 8 : n >= 4 && at % 4 == 0 ? 4 : 1;
		if (piece == 8)
			move64((u64 *)p, data, write);
		else if (piece == 4)
			move32((u32 *)p, data, write);
		else if (write)
			__atomic_store_n(p, *data, __ATOMIC_RELAXED);
		else
			*data = __atomic_load_n(p, __ATOMIC_RELAXED);
	}
}

static bool access_unbroken(vaddr_t va, u8 *data, size_t n, bool write, vaddr_t *fault)
{
	size_t first = MIN(n, PAGE_SIZE - va % PAGE_SIZE);	// the rest lies in the next page
	u8 *p = translate(*fault = va, write), *q = p;

	if (p && first < n)
		q = translate(*fault = va + first, write);
	if (!p || !q)
		return false;
	move(p, data, first, write);
	move(q, data + first, n - first, write);
	return true;
}

bool access_user(vaddr_t va, void *data, size_t n, bool write, vaddr_t *fault)
{
	struct unbroken u = unbroken_begin();
	bool ok = access_unbroken(va, data, n, write, fault);

	unbroken_end(u);
	return ok;
}

bool access_cmpxchg32(vaddr_t va, u32 expected, u32 v, u32 *old)
{
	struct unbroken u = unbroken_begin();
	// Hardware writes also where nothing is to be stored (SDM vol. 2, CMPXCHG).
	u32 *p = (u32 *)translate(va, true);

	ASSERT(!p || va % sizeof(*p) == 0);
	if (p)
		__atomic_compare_exchange_n(p, &expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	*old = expected;
	unbroken_end(u);
	return p;
}

// Make the page present, where the context may sleep. It may be unmapped again before the next access: try again then.
static int fault_in(vaddr_t va, bool write)
{
	return preemptible() && !user_fault_in(va, write) ? 0 : -EFAULT;
}

static int access_or_fault(vaddr_t va, void *data, size_t n, bool write)
{
	vaddr_t fault;

	while (!access_user(va, data, n, write, &fault))
		if (fault_in(fault, write))
			return -EFAULT;
	return 0;
}

int arch_user_read32(vaddr_t va, u32 *out) { return access_or_fault(va, out, sizeof(*out), false); }
int arch_user_read64(vaddr_t va, u64 *out) { return access_or_fault(va, out, sizeof(*out), false); }
int arch_user_write64(vaddr_t va, u64 v) { return access_or_fault(va, &v, sizeof(v), true); }

static int access_present(vaddr_t va, void *data, size_t n, bool write)
{
	vaddr_t fault;

	return access_user(va, data, n, write, &fault) ? 0 : -EFAULT;
}

int arch_user_read32_nofault(vaddr_t va, u32 *out) { return access_present(va, out, sizeof(*out), false); }
int arch_user_read64_nofault(vaddr_t va, u64 *out) { return access_present(va, out, sizeof(*out), false); }
int arch_user_write64_nofault(vaddr_t va, u64 v) { return access_present(va, &v, sizeof(v), true); }

int arch_user_cmpxchg32(vaddr_t va, u32 expected, u32 v, u32 *old)
{
	while (!access_cmpxchg32(va, expected, v, old))
		if (fault_in(va, true))
			return -EFAULT;
	return 0;
}

int arch_user_cmpxchg32_nofault(vaddr_t va, u32 expected, u32 v, u32 *old)
{
	return access_cmpxchg32(va, expected, v, old) ? 0 : -EFAULT;
}

// Word by word: the processor takes interrupts in between, and other programs write.
static int copy(vaddr_t va, u8 *data, size_t n, bool write)
{
	while (n) {
		size_t piece = MIN(n, sizeof(u64) - va % sizeof(u64));

		if (access_or_fault(va, data, piece, write))
			return -EFAULT;
		va += piece;
		data += piece;
		n -= piece;
	}
	return 0;
}

int copy_in(void *to, vaddr_t from, size_t n) { return copy(from, to, n, false); }
int copy_out(vaddr_t to, const void *from, size_t n) { return copy(to, (u8 *)(uintptr_t)from, n, true); }

int clear_out(vaddr_t to, size_t n)
{
	static const u8 zeroes[64];

	for (size_t piece; n; to += piece, n -= piece) {
		piece = MIN(n, sizeof(zeroes));
		if (copy_out(to, zeroes, piece))
			return -EFAULT;
	}
	return 0;
}

s64 copy_in_string(char *to, vaddr_t from, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (copy_in(&to[i], from + i, 1))
			return -EFAULT;
		if (!to[i])
			return (s64)i;
	}
	return current->space ? -ERANGE : -EFAULT;
}
