// SPDX-License-Identifier: MIT
// The host port itself: when interrupts are taken, where per-CPU data lies, what the page walk permits and marks.
#include "kernel/errno.h"
#include "kernel/irq.h"
#include "kernel/lib.h"
#include "kernel/preempt.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "lab/test.h"
#include "mm/frame/page.h"
#include "mm/inval.h"
#include "mm/space.h"
#include <arch/ipi.h>
#include <arch/machine.h>
#include <arch/tlb.h>
#include <arch/uaccess.h>

static DEFINE_PER_CPU(u32, nmis);
static DEFINE_PER_CPU(u32, nmi_depth);
static DEFINE_PER_CPU(u32, deepest);
static u32 nmi_again;

static void count_nmi(void)
{
	u32 depth = this_cpu_read(nmi_depth) + 1;

	this_cpu_write(nmi_depth, depth);
	this_cpu_write(deepest, MAX(this_cpu_read(deepest), depth));
	this_cpu_inc(nmis);
	if (xchg(&nmi_again, 0u))
		arch_send_ipi(cpu_id(), IPI_NMI);
	this_cpu_dec(nmi_depth);
}
NMI_HANDLER(count_nmi);

TEST(host, interrupts_wait_for_the_flag, 0)
{
	irqflags_t flags = irq_save();
	u64 before = this_cpu_read(interrupts);
	u32 word = 0;

	arch_send_ipi(cpu_id(), IPI_RESCHED);
	for (int i = 0; i < 1000; i++)
		fetch_add(&word, 1);
	EXPECT_EQ(this_cpu_read(interrupts), before);
	preempt_disable();
	irq_enable();
	EXPECT(this_cpu_read(interrupts) > before);
	EXPECT(this_cpu_read(need_resched));
	preempt_enable();
	irq_restore(flags);
}

// A loop that does nothing but look at memory gets its ticks.
TEST(host, loads_are_yield_points, 0)
{
	struct cpumask here = { 0 };
	u64 start, *t;

	cpumask_set(&here, 0);
	REQUIRE(!thread_set_affinity(&here));
	t = this_cpu_ptr(&ticks);
	start = READ_ONCE(*t);
	spin_until(READ_ONCE(*t) >= start + 3, "ticks", 0);
	EXPECT(irqs_enabled() && !in_irq());
}

TEST(host, nmi_ignores_the_flag_and_does_not_nest, 0)
{
	irqflags_t flags = irq_save();
	u32 before = this_cpu_read(nmis);

	WRITE_ONCE(nmi_again, 1);
	arch_send_ipi(cpu_id(), IPI_NMI);
	EXPECT_EQ(this_cpu_read(nmis), before + 2);
	EXPECT_EQ(this_cpu_read(deepest), 1);
	EXPECT(!irqs_enabled() && !in_nmi());
	irq_restore(flags);
}

TEST(host, halt_takes_what_came_before_it, 0)
{
	u64 before;

	preempt_disable();
	irq_disable();
	before = this_cpu_read(interrupts);
	arch_send_ipi(cpu_id(), IPI_RESCHED);
	irq_enable_and_halt();
	EXPECT(this_cpu_read(interrupts) > before);
	EXPECT(irqs_enabled());
	preempt_enable();
}

static int check_own_copy(void *unused)
{
	for (unsigned i = 0; i < 200; i++) {
		struct cpumask m = { 0 };

		cpumask_set(&m, i % nr_cpus);
		if (thread_set_affinity(&m) || cpu_id() != i % nr_cpus)
			return 1;
		if (host_offset() != percpu_offset[cpu_id()] || this_cpu_read(this_cpu_offset) != host_offset())
			return 2;
		if (this_cpu_ptr(&nmis) != per_cpu_ptr(&nmis, i % nr_cpus))
			return 3;
	}
	return 0;
}

TEST(host, per_cpu_data_follows_the_cpu, 0)
{
	struct cpumask all;

	for_each_cpu(cpu)
		EXPECT_EQ(percpu_offset[cpu] % PAGE_SIZE, 0);
	cpumask_copy(&all, &cpus_online);
	EXPECT_EQ(threads_run_on(&all, check_own_copy, NULL), 0);
}

// Tables by hand: a 4 KiB page at 0 (read-only) and one at 4 KiB (writable), a 2 MiB page at 2 MiB (writable).
#define NR_TABLES 4
static struct page *tables[NR_TABLES + 1];	// [level]; [0]: the 4 KiB frame
static struct page *huge;

static pte_t *entry(int level, unsigned i) { return (pte_t *)page_to_virt(tables[level]) + i; }

static bool build_tables(void)
{
	for (int level = 0; level <= NR_TABLES; level++)
		if (!(tables[level] = page_alloc(0, PAGE_KERNEL, PG_ZERO)))
			return false;
	huge = page_alloc(PT_BITS, PAGE_KERNEL, PG_ZERO);
	if (!huge)
		return false;
	for (int level = NR_TABLES; level > 1; level--)
		pte_write(entry(level, 0), pte_make_table(page_to_phys(tables[level - 1])));
	pte_write(entry(1, 0), pte_make_leaf(page_to_phys(tables[0]), 1, PROT_R));
	pte_write(entry(1, 1), pte_make_leaf(page_to_phys(tables[0]), 1, PROT_R | PROT_W));
	pte_write(entry(2, 1), pte_make_leaf(page_to_phys(huge), 2, PROT_R | PROT_W));
	return true;
}

static void free_tables(void)
{
	for (int level = 0; level <= NR_TABLES; level++)
		if (tables[level])
			page_put(tables[level]);
	if (huge)
		page_put(huge);
}

static void use_tables(void)
{
	u64 v = 1;

	EXPECT_EQ(arch_user_read64_nofault(8, &v), 0);
	EXPECT_EQ(v, 0);
	EXPECT(pte_accessed(pte_read(entry(1, 0))) && !pte_dirty(pte_read(entry(1, 0))));
	EXPECT(pte_accessed(pte_read(entry(4, 0))) && !pte_dirty(pte_read(entry(4, 0))));
	EXPECT_EQ(arch_user_write64_nofault(8, 7), -EFAULT);
	EXPECT_EQ(arch_user_write64_nofault(PAGE_SIZE + 8, 7), 0);
	EXPECT(pte_dirty(pte_read(entry(1, 1))));
	EXPECT(!arch_user_read64_nofault(8, &v) && v == 7);	// the same frame
	EXPECT_EQ(arch_user_write64_nofault(level_size(2) + 5 * PAGE_SIZE, 9), 0);
	EXPECT_EQ(((u64 *)page_to_virt(huge))[5 * PAGE_SIZE / sizeof(u64)], 9);
	EXPECT(pte_dirty(pte_read(entry(2, 1))));

	EXPECT_EQ(arch_user_read64_nofault(2 * PAGE_SIZE, &v), -EFAULT);	// nothing there
	EXPECT_EQ(arch_user_write64_nofault(PAGE_SIZE - 4, 7), -EFAULT);	// half of it is read-only
	EXPECT(!arch_user_read64_nofault(PAGE_SIZE + 4, &v) && v == 7ull << 32);
	EXPECT_EQ(arch_user_read64_nofault(USER_END, &v), -EFAULT);
	EXPECT_EQ(arch_user_read64_nofault(~7ull, &v), -EFAULT);
	// Permissions are those of the whole path.
	pte_write(entry(3, 0), pte_without_write(pte_read(entry(3, 0))));
	inval_user();
	EXPECT_EQ(arch_user_write64_nofault(PAGE_SIZE, 7), -EFAULT);
	EXPECT_EQ(arch_user_read64_nofault(PAGE_SIZE, &v), 0);
	pte_write(entry(3, 0), pte_without_user(pte_read(entry(3, 0))));
	inval_user();
	EXPECT_EQ(arch_user_read64_nofault(PAGE_SIZE, &v), -EFAULT);
}

TEST(host, page_walk, 0)
{
	if (EXPECT(build_tables())) {
		static struct space unused;	// user memory is for threads with a space only
		irqflags_t flags = irq_save();
		paddr_t root = arch_current_root();

		current->space = &unused;
		inval_load_root(page_to_phys(tables[NR_TABLES]));
		use_tables();
		inval_load_root(root);
		current->space = NULL;
		irq_restore(flags);
	}
	free_tables();
}
