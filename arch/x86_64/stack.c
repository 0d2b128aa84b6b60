// SPDX-License-Identifier: MIT
// Kernel stacks: slots of a reserved area. The lower half of a slot stays unmapped and is the guard. A stack is never
// unmapped, so it never needs a TLB flush; freed stacks wait in a list that runs through their own memory.
#include "arch/x86_64/stack.h"
#include "arch/x86_64/kmap.h"
#include "kernel/panic.h"
#include "kernel/spinlock.h"
#include "mm/frame/page.h"

#define SLOT_SIZE (2 * KSTACK_SIZE)
#define STACK_ORDER 2
_Static_assert(KSTACK_SIZE == PAGE_SIZE << STACK_ORDER, "one block of frames");

struct free_stack {
	struct free_stack *next;
};
static struct spinlock lock = SPINLOCK_INIT("stacks", RANK_KMAP);
static struct free_stack *free_stacks;		// lock
static uintptr_t next_slot = STACKS_BASE;	// a slot that could not be filled is lost: there are 16 million

static void *take_cached(void)
{
	irqflags_t flags = spin_lock_irqsave(&lock);
	struct free_stack *s = free_stacks;

	if (s)
		free_stacks = s->next;
	spin_unlock_irqrestore(&lock, flags);
	return s;
}

// All four entries lie in one table (slots are aligned), so only the first can lack memory: it is all or nothing.
static void *map_new(void)
{
	struct page *p = page_alloc(STACK_ORDER, PAGE_KERNEL, 0);
	uintptr_t stack;

	if (!p)
		return NULL;
	stack = fetch_add(&next_slot, SLOT_SIZE) + SLOT_SIZE - KSTACK_SIZE;
	if (stack < STACKS_BASE + STACK_AREA_SIZE &&
	    kmap_range(stack, page_to_phys(p), KSTACK_SIZE, PTE_W | PTE_G | pte_nx_mask, 1))
		return (void *)stack;
	page_put(p);
	return NULL;
}

void *arch_stack_alloc(void)
{
	void *stack = take_cached();

	return stack ? stack : map_new();
}

void arch_stack_free(void *stack)
{
	struct free_stack *s = stack;
	irqflags_t flags = spin_lock_irqsave(&lock);

	s->next = free_stacks;
	free_stacks = s;
	spin_unlock_irqrestore(&lock, flags);
}

static bool in_area(uintptr_t addr) { return addr >= STACKS_BASE && addr < READ_ONCE(next_slot); }
static bool in_boot_stacks(uintptr_t addr)
{
	return addr >= (uintptr_t)boot_stacks && addr < (uintptr_t)(boot_stacks + NR_BOOT_STACKS);
}

bool stack_bounds(uintptr_t addr, uintptr_t *lo, uintptr_t *hi)
{
	int level;

	if (in_area(addr)) {
		*hi = ALIGN_DOWN(addr, SLOT_SIZE) + SLOT_SIZE;
		*lo = *hi - KSTACK_SIZE;
		return addr >= *lo && kmap_leaf(*hi - 1, &level) && kmap_leaf(addr, &level);
	}
	if (in_boot_stacks(addr)) {
		struct boot_stack *s = &boot_stacks[(addr - (uintptr_t)boot_stacks) / sizeof(*s)];

		*lo = (uintptr_t)s->stack;
		*hi = *lo + KSTACK_SIZE;
		return addr >= *lo;
	}
	return false;
}

bool stack_is_guard(uintptr_t addr)
{
	if (in_area(addr))
		return addr % SLOT_SIZE < SLOT_SIZE - KSTACK_SIZE;
	return in_boot_stacks(addr) && (addr - (uintptr_t)boot_stacks) % sizeof(struct boot_stack) < PAGE_SIZE;
}
