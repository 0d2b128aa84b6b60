// SPDX-License-Identifier: MIT
// Starting the other processors, all at the same time, in two rounds through one trampoline (boot/trampoline.asm).
//
//   roll call (arch_init_platform)  INIT and start-up interrupt to every CPU that ACPI lists; each writes its APIC id
//                                   down and halts. A CPU that has answered gets a number: there are no holes, and all
//                                   that is sized by nr_cpus (per-CPU data, RCU's tree) is right from the start.
//   work (arch_start_cpus)          the same again; each takes its stack, waits until the last one is there too, and
//                                   goes to cpu_main().
#include "arch/x86_64/acpi.h"
#include "arch/x86_64/apic.h"
#include "arch/x86_64/clock.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/icount.h"
#include "arch/x86_64/ipi.h"
#include "arch/x86_64/kmap.h"
#include "arch/x86_64/memmap.h"
#include "arch/x86_64/rtc.h"
#include "arch/x86_64/smp.h"
#include "arch/x86_64/timer.h"
#include "kernel/cmdline.h"
#include "kernel/cpumask.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/panic.h"
#include "kernel/time.h"
#include <arch/machine.h>
#include <arch/thread.h>
#include <arch/tlb.h>

#define INIT_WAIT_US 10000			// the manuals' wait between INIT and the first start-up interrupt
#define POLL_US 200				// … and between the first and the second
#define RESEND_POLLS 100			// then every so often: one that arrives before the INIT is done is lost
// If no CPU has come during so many polls, 5 s at least, the missing ones do not come. Polls and not seconds, because a
// host that has little time for this machine delays the CPU that polls, too.
#define PATIENCE_POLLS 25000
#define ABSENT_NAMED 8				// of the missing CPUs so many are named

enum phase { PHASE_CLOSED, PHASE_ROLL, PHASE_WORK };

struct trampoline_data {	// shared with trampoline.asm
	u32 phase, inside, most, cr3, cr4, cr0, efer, leaf_b, nr_slots, next_slot, page;
	struct { u32 offset, selector; } to_protected, to_long;	// far pointers
	u16 unused, gdt_limit;
	u32 gdt;
	u32 slots[NR_CPUS];	// APIC ids of the CPUs that have answered, ~0: free
};
_Static_assert(offsetof(struct trampoline_data, slots) == 68 && NR_CPUS == 256, "shared with trampoline.asm");

extern const u8 trampoline[], trampoline_end[], trampoline_data[];
static u32 trampoline_page;	// physical; its number is the start-up interrupt's vector
static struct trampoline_data *data;
// Identity for the trampoline page alone, the kernel half above: what a CPU runs on while it switches to 64-bit mode.
// In the image because CR3 is loaded in 32-bit mode.
static pte_t tables[PT_LEVELS][PT_ENTRIES] __aligned(PAGE_SIZE);

u32 cpu_apic_id[NR_CPUS];

// Read by ap_entry in trampoline.asm
unsigned ap_count;			// CPUs that are called, the boot CPU included
u32 ap_apic_id[NR_CPUS];
uintptr_t ap_stack_top[NR_CPUS];
u32 ap_leaf_b;
_Noreturn void ap_main(u32 cpu);

static u32 ap_entered;			// how many are in ap_main()
static u8 ap_has_entered[NR_CPUS];
static u64 tsc_before_start;

unsigned arch_most_starting_cpus(void) { return data ? READ_ONCE(data->most) : 0; }

static void install_trampoline(void)
{
	size_t size = (size_t)(trampoline_end - trampoline);
	u8 *page = phys_to_virt(trampoline_page);

	BUG_ON(size > PAGE_SIZE);
	memset(page, 0xcc, PAGE_SIZE);		// INT3: a CPU that strays stops
	memcpy(page, trampoline, size);
	data = (void *)(page + (trampoline_data - trampoline));
	data->page = trampoline_page;
	data->to_protected.offset += trampoline_page;
	data->to_long.offset += trampoline_page;
	data->gdt += trampoline_page;

	arch_root_init(tables[0]);
	for (int level = PT_LEVELS; level > 1; level--)
		tables[PT_LEVELS - level][0] = image_to_phys(tables[PT_LEVELS - level + 1]) | PTE_P;
	tables[PT_LEVELS - 1][pt_index(trampoline_page, 1)] = trampoline_page | PTE_P;

	data->cr3 = (u32)image_to_phys(tables[0]);
	data->cr4 = CR4_PAE;
	data->cr0 = CR0_KERNEL;
	data->efer = EFER_LME | (cpu_has_nx() ? EFER_NXE : 0);
	data->leaf_b = ap_leaf_b = apic_knows_id_by_leaf_b();
	data->nr_slots = NR_CPUS;
}

static bool has_answered(unsigned i)
{
	for (unsigned slot = 0; slot < NR_CPUS; slot++)
		if (READ_ONCE(data->slots[slot]) == ap_apic_id[i])
			return true;
	return false;
}

static bool has_entered(unsigned i) { return READ_ONCE(ap_has_entered[i]); }

// Send every CPU of ap_apic_id[] through the trampoline, together; false: some did not come.
static bool wake_all(enum phase phase, bool (*has_come)(unsigned))
{
	unsigned most = 0;

	tsc_before_start = cycles();
	store_release(&data->phase, phase);	// what the trampoline reads is written before it
	for (unsigned i = 1; i < ap_count; i++)
		apic_send(ap_apic_id[i], ICR_INIT | ICR_ASSERT);
	arch_udelay(INIT_WAIT_US);
	for (unsigned poll = 0, in_vain = 0; in_vain < PATIENCE_POLLS; poll++, in_vain++) {
		unsigned came = 1;

		for (unsigned i = 1; i < ap_count; i++) {
			if (has_come(i))
				came++;
			else if (poll < 2 || poll % RESEND_POLLS == 0)
				apic_send(ap_apic_id[i], ICR_STARTUP | ICR_ASSERT | trampoline_page >> PAGE_SHIFT);
		}
		if (came == ap_count)
			return true;
		if (came > most)
			in_vain = 0;
		most = MAX(most, came);
		arch_udelay(POLL_US);
	}
	return false;
}

// The CPUs to call: as many as wanted of those that ACPI lists and that interrupts can reach.
static void list_cpus(void)
{
	const struct acpi_madt *madt = acpi_madt();
	unsigned wanted = opt_cpus ? MIN(opt_cpus, (u32)NR_CPUS) : NR_CPUS;

	ap_apic_id[0] = apic_own_id();
	ap_count = 1;
	for (unsigned i = 1; i < madt->nr_cpus && ap_count < wanted; i++) {
		if (madt->apic_id[i] <= apic_max_id())
			ap_apic_id[ap_count++] = madt->apic_id[i];
		else
			log_warn("smp: APIC id %u needs x2APIC mode, which this CPU lacks: left out", madt->apic_id[i]);
	}
}

void smp_roll_call(void)
{
	unsigned n = 1, absent = 0;

	list_cpus();
	cpu_apic_id[0] = ap_apic_id[0];
	trampoline_page = (u32)ram_real_mode_page();
	if (ap_count > 1 && !trampoline_page) {
		log_warn("smp: no usable page below 640 KiB, in which the other CPUs would begin: using the boot CPU only");
		ap_count = 1;
	}
	if (ap_count > 1) {
		install_trampoline();
		wake_all(PHASE_ROLL, has_answered);
		store_release(&data->phase, PHASE_CLOSED);	// a CPU that comes now halts
	}
	for (unsigned i = 1; i < ap_count; i++) {
		if (has_answered(i))
			cpu_apic_id[n++] = ap_apic_id[i];
		else if (absent++ < ABSENT_NAMED)
			log_warn("smp: the CPU with APIC id %u does not answer: left out", ap_apic_id[i]);
	}
	if (absent > ABSENT_NAMED)
		log_warn("smp: %u more CPUs do not answer: left out", absent - ABSENT_NAMED);
	nr_cpus = n;
}

void arch_init_platform(void)
{
	acpi_init(apic_own_id());
	apic_init();
	ipi_init();
	icount_init();
	clock_init();
	rtc_init();
	timer_init();
	smp_roll_call();
}

void arch_start_cpus(void)
{
	if (nr_cpus == 1)
		return;
	ap_count = nr_cpus;
	memcpy(ap_apic_id, cpu_apic_id, sizeof(ap_apic_id));
	for (unsigned cpu = 1; cpu < nr_cpus; cpu++) {
		u8 *stack = arch_stack_alloc();

		if (!stack)
			panic("out of memory for the stacks of %u CPUs", nr_cpus);
		ap_stack_top[cpu] = (uintptr_t)stack + KSTACK_SIZE;
	}
	if (!wake_all(PHASE_WORK, has_entered)) {
		for (unsigned cpu = 1; cpu < nr_cpus; cpu++)
			if (!has_entered(cpu))
				log_error("smp: CPU %u (APIC id %u) answered the roll call but does not start",
					  cpu, cpu_apic_id[cpu]);
		panic("not all CPUs have started");
	}
	store_release(&data->phase, PHASE_CLOSED);
	spin_until(cpumask_weight(&cpus_online) == nr_cpus, "all CPUs to come online", -1);
	log_debug("smp: %u CPUs by the trampoline at %#x; at most %u were in it at once", nr_cpus, trampoline_page,
		  arch_most_starting_cpus());
}

// An application processor in 64-bit mode on its own stack, still on the trampoline's page tables. It leaves when the
// last one has come, so that every run shows, however fast each CPU is, that all of them can be in here at once.
void ap_main(u32 cpu)
{
	WRITE_ONCE(ap_has_entered[cpu], 1);
	fetch_add(&ap_entered, 1);
	while (READ_ONCE(ap_entered) < ap_count - 1)
		cpu_relax();
	fetch_sub(&data->inside, 1);
	arch_cpu_setup(cpu);
	apic_init_cpu();
	timer_init_cpu();
	clock_check_cpu(tsc_before_start);
	cpu_main();
}
