// SPDX-License-Identifier: MIT
// Per-CPU copies, and the pthreads that are the CPUs.
#include "kernel/cpumask.h"
#include "kernel/lib.h"
#include "kernel/time.h"
#include <arch/machine.h>
#include <arch/pte.h>
#include <arch/percpu.h>
#include "arch/host/host.h"
#include "arch/host/os.h"
#include "arch/host/steps.h"

__thread uintptr_t host_cpu_offset;
uintptr_t percpu_offset[NR_CPUS];
DEFINE_PER_CPU(uintptr_t, this_cpu_offset);
DEFINE_PER_CPU(u32, cpu_number);

extern char __start_percpu[], __stop_percpu[];

static bool make_copy(unsigned cpu)
{
	size_t size = (size_t)(__stop_percpu - __start_percpu), skew = (uintptr_t)__start_percpu % PAGE_SIZE;
	char *copy = os_reserve(size + PAGE_SIZE);

	if (!copy)
		return false;
	copy += skew;	// keeps every alignment that the template has
	memcpy(copy, __start_percpu, size);
	percpu_offset[cpu] = (uintptr_t)copy - (uintptr_t)__start_percpu;
	per_cpu(this_cpu_offset, cpu) = percpu_offset[cpu];
	per_cpu(cpu_number, cpu) = cpu;
	return true;
}

bool percpu_alloc(unsigned n)
{
	for (unsigned cpu = 1; cpu < n; cpu++)
		if (!make_copy(cpu))
			return false;
	return true;
}

void host_become_cpu(unsigned cpu)
{
	os_fault_stack();
	host_cpu_offset = percpu_offset[cpu];
}

void host_percpu_boot(void)
{
	if (!make_copy(0))
		os_exit(1);
	host_become_cpu(0);
}

static void run_cpu(void *arg)
{
	host_become_cpu((unsigned)(uintptr_t)arg);
	cpu_main();
}

void arch_start_cpus(void)
{
	for (unsigned cpu = 1; cpu < nr_cpus; cpu++) {
		if (steps_on)
			steps_add_cpu(cpu, cpu_main);
		else
			os_thread(run_cpu, (void *)(uintptr_t)cpu);
	}
	spin_until(cpumask_weight(&cpus_online) == nr_cpus, "CPUs to start", -1);
	for (unsigned i = 0; i < CPUMASK_WORDS; i++)
		load_acquire(&cpus_online.w[i]);	// what they set up before they came online is visible
}

unsigned arch_most_starting_cpus(void) { return nr_cpus - 1; }
