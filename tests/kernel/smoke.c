// SPDX-License-Identifier: MIT
// The machine has come up as it should: every CPU is there, has its own data, takes its tick and answers calls. It
// must be quick even with 255 CPUs on two cores, so CPUs take turns wherever one has to spin, and threads that meet do
// so in groups.
#include "kernel/banner.h"
#include "kernel/lib.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "kernel/xcall.h"
#include "lab/mutant.h"
#include "lab/test.h"
#include "mm/frame/page.h"
#include "mm/frame/slab.h"
#include "tests/help.h"
#include <arch/machine.h>
#include <arch/tlb.h>

static DEFINE_PER_CPU(u64, smoke_value);
static struct cpumask called;

TEST(smoke, cpus_online, 0)
{
	EXPECT(nr_cpus >= 1 && nr_cpus <= NR_CPUS);
	EXPECT_EQ(cpumask_weight(&cpus_online), nr_cpus);
	for_each_cpu(cpu)
		EXPECT(cpumask_test(&cpus_online, cpu));
}

static void note_call(void *arg)
{
	this_cpu_write(smoke_value, (uintptr_t)arg + cpu_id());
	cpumask_set_atomic(&called, cpu_id());
}

TEST(smoke, call_each_cpu, 0)
{
	cpumask_zero(&called);
	for_each_cpu(cpu) {
		xcall_one(cpu, note_call, (void *)1000);
		EXPECT(cpumask_test(&called, cpu));
	}
	for_each_cpu(cpu)
		EXPECT_EQ(per_cpu(smoke_value, cpu), 1000 + cpu);
}

TEST(smoke, call_all_cpus, 0)
{
	cpumask_zero(&called);
	xcall_mask(&cpus_online, note_call, (void *)2000);
	EXPECT_EQ(cpumask_weight(&called), nr_cpus);
	for_each_cpu(cpu)
		EXPECT_EQ(per_cpu(smoke_value, cpu), 2000 + cpu);
}

// fn on each CPU, GROUP of them at a time.
static int run_in_groups(int (*fn)(void *))
{
	enum { GROUP = 16 };
	int result = 0;

	for (unsigned first = 0; first < nr_cpus && !result; first += GROUP) {
		struct cpumask group = { 0 };

		for (unsigned cpu = first; cpu < MIN(first + GROUP, nr_cpus); cpu++)
			cpumask_set(&group, cpu);
		result = threads_run_on(&group, fn, NULL);
	}
	return result;
}

static int add_to_own_copy(void *unused)
{
	for (int i = 0; i < 1000; i++)
		this_cpu_inc(smoke_value);
	return 0;
}

TEST(smoke, per_cpu_data, 0)
{
	for_each_cpu(cpu)
		per_cpu(smoke_value, cpu) = cpu;
	EXPECT_EQ(run_in_groups(add_to_own_copy), 0);
	for_each_cpu(cpu)
		EXPECT_EQ(per_cpu(smoke_value, cpu), cpu + 1000);
}

static int wait_for_ticks(void *unused)
{
	u64 start = this_cpu_read(ticks), before = now_ns();

	spin_until(this_cpu_read(ticks) >= start + 2, "two ticks", cpu_id());
	return now_ns() > before ? 0 : -1;
}

TEST(smoke, ticks_on_each_cpu, 0)
{
	for_each_cpu(cpu) {
		struct thread *t = thread_create("ticks", wait_for_ticks, NULL, cpu, PRIO_NORMAL);

		REQUIRE(t);
		EXPECT_EQ(thread_join(t), 0);
	}
}

static int sleep_a_little(void *unused)
{
	u64 before = now_ns();

	thread_sleep_ns(NSEC_PER_MSEC);
	return now_ns() - before >= NSEC_PER_MSEC ? 0 : -1;
}

TEST(smoke, sleep_on_each_cpu, 0)
{
	EXPECT_EQ(run_in_groups(sleep_a_little), 0);
}

TEST(smoke, clock, 0)
{
	u64 last = now_ns();

	EXPECT(arch_cycles_hz() >= 1000000);
	EXPECT(tick_hz >= 100 && tick_hz <= 1000);
	for (int i = 0; i < 10000; i++) {
		u64 now = now_ns();

		REQUIRE(now >= last);
		last = now;
	}
}

TEST(smoke, banner, 0)
{
	static const char *const keys[] = { "quiesce ", " build=", " commit=", " mutant=", " mem=", "M firmware=",
		" hypervisor=", " apic=", " clock=", " paging=4-level ", " table_free=", " tlb_flush=" };
	char line[512], cpus[24], mutant[48];

	banner(line, sizeof(line), true);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		EXPECT(contains(line, keys[i]));
	ksnprintf(cpus, sizeof(cpus), " cpus=%u ", nr_cpus);
	EXPECT(contains(line, cpus));
	ksnprintf(mutant, sizeof(mutant), " mutant=%s ", mutant_name());
	EXPECT(contains(line, mutant));
	EXPECT(!contains(line, "unknown") && !contains(line, "(null)") && !contains(line, "= "));
	EXPECT(strchr(line, '\n') && !strchr(line, '\n')[1]);
}

TEST(smoke, memory, 0)
{
	u64 total = page_total_count(), free_frames = page_free_count();
	struct page *p = page_alloc(0, PAGE_KERNEL, PG_ZERO);
	u64 *words;
	void *small;

	EXPECT(free_frames && free_frames <= total && total * PAGE_SIZE <= page_ram_bytes());
	EXPECT(total * PAGE_SIZE >= page_ram_bytes() / 4 * 3);	// mem= says what is used: the rest are descriptors and the image
	REQUIRE(p);
	words = page_to_virt(p);
	for (unsigned i = 0; i < PAGE_SIZE / sizeof(u64); i++)
		REQUIRE(words[i] == 0);
	page_put(p);
	small = kmalloc(100);
	EXPECT(small);
	kfree(small);
}

TEST(smoke, grace_period, 0)
{
	u64 cookie = rcu_snapshot();

	synchronize_rcu();
	EXPECT(rcu_elapsed(cookie));
}

// Every leaf of the kernel's half: nothing is both writable and executable, nothing belongs to user mode.
static void check_table(const pte_t *table, int level, unsigned first, bool writable, bool executable)
{
	for (unsigned i = first; i < PT_ENTRIES && !test_failed(); i++) {
		pte_t e = pte_read(&table[i]);
		bool w = writable && pte_writable(e), x = executable && !(e & pte_nx_mask);

		if (!pte_present(e))
			continue;
		if (pte_leaf(e, level)) {
			if (w && x)
				test_fail(__FILE__, __LINE__, "level %d entry %u (%#llx): writable and executable",
					  level, i, (unsigned long long)e);
			EXPECT(!pte_user(e));
		} else {
			check_table(phys_to_virt(pte_addr(e)), level - 1, 0, w, x);
		}
	}
}

TEST(smoke, kernel_write_xor_execute, 0)
{
	if (!pte_nx_mask)
		SKIP("the CPU has no NX");
	if (!strcmp(arch_firmware(), "host"))
		SKIP("the host kernel maps this process");
	check_table(phys_to_virt(arch_kernel_root()), PT_LEVELS, USER_ROOT_ENTRIES, true, true);
}
