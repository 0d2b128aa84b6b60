// SPDX-License-Identifier: MIT
// The entry of NMIs (arch/x86_64/traps.asm): an NMI that comes just before the IRET of the last one.
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/percpu.h"
#include "arch/x86_64/traps.h"
#include "lab/test.h"
#include <arch/ipi.h>
#include <arch/irq.h>
#include <arch/machine.h>

extern const uintptr_t trap_stubs[];
extern const char trap_nmi_iret[];
#define NMI_IST 0		// idt.c
#define DELIVERED 5		// words that the processor pushes: rip, cs, rflags, rsp, ss
#define NMI_FRAME 7		// … and the stub: vector, error code

static struct {
	const struct trap_frame *frame;
	u64 rip, calls;
	u32 armed, cpu;
} seen;

static void look(void)
{
	if (!READ_ONCE(seen.armed) || seen.cpu != cpu_id())
		return;
	seen.frame = trap_current();
	seen.rip = seen.frame->rip;
	seen.calls++;
}
NMI_HANDLER(look);

static irqflags_t begin(void)
{
	irqflags_t flags = irq_save();

	seen.frame = NULL;
	seen.calls = 0;
	seen.cpu = cpu_id();
	WRITE_ONCE(seen.armed, 1);
	return flags;
}

static void end(irqflags_t flags)
{
	WRITE_ONCE(seen.armed, 0);
	irq_restore(flags);
}

static u64 *top(void) { return (u64 *)ist_stack_top(cpu_id(), NMI_IST); }

// Where the next NMI's frame goes, nothing of this one's must be left.
TEST(traps, nmi_makes_room_for_the_next, 0)
{
	irqflags_t flags = begin();

	arch_send_ipi(cpu_id(), IPI_NMI);
	spin_until(READ_ONCE(seen.calls), "an NMI to this CPU", -1);
	EXPECT((u64 *)(seen.frame + 1) <= top() - NMI_FRAME);
	end(flags);
}

// The processor delivers the second NMI at the first one's IRET. The first one's frame lies where the entry has copied
// it to; its IRET would return to `back`.
static u64 deliver_at_iret(u64 *first, u64 *second)
{
	u64 flags, back;

	__asm__ volatile("pushfq; popq %0" : "=r"(flags));
	first[1] = second[1] = 8;
	first[2] = second[2] = flags;
	first[4] = second[4] = 16;
	second[0] = (uintptr_t)trap_nmi_iret;
	second[3] = (uintptr_t)first;
	__asm__ volatile("leaq 1f(%%rip), %0\n\t"
			 "movq %0, 0(%[first])\n\t"
			 "movq %%rsp, 24(%[first])\n\t"
			 "movq %[second], %%rsp\n\t"
			 "jmp *%[stub]\n"
			 "1:"
			 : "=&r"(back) : [first] "r"(first), [second] "r"(second), [stub] "r"(trap_stubs[VEC_NMI])
			 : "memory", "cc");
	return back;
}

TEST(traps, nmi_before_the_iret_of_the_last, 0)
{
	irqflags_t flags = begin();
	u64 *first = top() - NMI_FRAME - 1 - DELIVERED;

	for (u64 i = 1; i <= 3; i++) {
		u64 back = deliver_at_iret(first, top() - DELIVERED);

		EXPECT_EQ(seen.calls, i);
		EXPECT_EQ(seen.rip, back);		// as if it had come just after that IRET
		EXPECT_EQ(seen.frame + 1, first + DELIVERED);
	}
	end(flags);
}
