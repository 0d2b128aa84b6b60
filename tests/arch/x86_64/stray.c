// SPDX-License-Identifier: MIT
// Interrupts that the kernel has not asked for, on each CPU: it counts and acknowledges them, and goes on.
#include "arch/x86_64/apic.h"
#include "kernel/lib.h"
#include "kernel/xcall.h"
#include "lab/counter.h"
#include "lab/test.h"
#include <arch/irq.h>
#include <arch/machine.h>

#define UNUSED_VECTOR 0x68
#define CLASS_1_VECTOR 0x13	// as an exception: SIMD error

static u64 strays(void) { return this_cpu_read(counters.irq_stray); }

static void send_to_self(u8 vector) { apic_send(apic_own_id(), ICR_FIXED | ICR_ASSERT | vector); }

// Requested with interrupts off, taken when they are turned on. One that was not acknowledged would stay in service.
// (Not the spurious vector: Bochs ignores its EOI when the vector was sent. tools/grubcases.py tests it.)
static int take_strays(void *unused)
{
	static const u8 vectors[] = { VEC_PIC, VEC_PIC + 7, UNUSED_VECTOR, 0xc0, VEC_APIC_ERROR - 1 };

	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		irqflags_t flags = irq_save();
		u64 before = strays();

		send_to_self(vectors[i]);
		spin_until(apic_requested(vectors[i]), "an interrupt sent to itself", -1);
		EXPECT_EQ(strays(), before);
		irq_restore(flags);
		spin_until(strays() != before, "a stray interrupt to be counted", -1);
		EXPECT_EQ(strays(), before + 1);
		EXPECT_EQ(apic_in_service(), -1);
	}
	return 0;
}

TEST(stray, counted_and_acknowledged, 0)
{
	EXPECT_EQ(threads_run_on(&cpus_online, take_strays, NULL), 0);
}

static int keep_out(void *unused)
{
	u64 before = strays(), ticked = this_cpu_read(ticks);

	send_to_self(CLASS_1_VECTOR);
	spin_until(apic_requested(CLASS_1_VECTOR), "an interrupt sent to itself", -1);
	spin_until(this_cpu_read(ticks) >= ticked + 2, "two ticks", -1);
	EXPECT(apic_requested(CLASS_1_VECTOR));		// it stays requested: only delivery would clear it
	EXPECT_EQ(strays(), before);
	return 0;
}

TEST(stray, vector_of_an_exception_is_kept_out, 0)
{
	if (!strcmp(arch_hypervisor(), "xen"))
		SKIP("under Xen inside QEMU an interrupt that the TPR holds back stops its CPU");
	EXPECT_EQ(threads_run_on(&cpus_online, keep_out, NULL), 0);
}

static u32 hidden;	// CPUs whose local APIC does not show the call as in service: some hypervisors' do not

// INT n stands for a spurious interrupt of the 8259, which bypasses the local APIC; here it comes while another
// interrupt is in service.
static void interrupt_the_call(void *unused)
{
	u64 before = strays();

	if (apic_in_service() != VEC_XCALL) {
		fetch_add(&hidden, 1u);
		return;
	}
	__asm__ volatile("int %0" :: "i"(UNUSED_VECTOR) : "memory");
	EXPECT_EQ(strays(), before + 1);
	EXPECT_EQ(apic_in_service(), VEC_XCALL);
}

TEST(stray, ends_no_other_interrupts_service, NEEDS_CPUS2)
{
	for_each_cpu(cpu)
		if (cpu != cpu_id())
			xcall_one(cpu, interrupt_the_call, NULL);
	if (hidden)
		SKIP("the local APIC does not show what is in service");
}
