// SPDX-License-Identifier: MIT
// The deterministic machine: QEMU with -icount shift=0 counts one nanosecond, and one cycle of the TSC, per instruction,
// and its CPUs take turns in one thread. The kernel finds out by itself whether it runs on such a machine.
//
// There a run repeats to the byte, except for what comes before the kernel: firmware and boot loader poll the disk for
// as long as the host takes to read it. So the kernel begins at a full second of the counter. It gets there by HLT,
// because time then jumps, and because QEMU begins its turns of the CPUs anew when the HLT ends.
#include "arch/x86_64/icount.h"
#include "arch/x86_64/apic.h"
#include "arch/x86_64/hypervisor.h"
#include "arch/x86_64/io.h"
#include "arch/x86_64/traps.h"
#include "kernel/log.h"
#include "kernel/time.h"
#include <arch/atomic.h>
#include <arch/irq.h>
#include <arch/percpu.h>

#define DIVIDE_BY_1 0xb
#define COUNTS_PER_SECOND NSEC_PER_SEC	// of QEMU's TSC under -icount, and of its local APIC's timer

static bool instructions;
static DEFINE_PER_CPU(bool, kept_turn);	// it did not end its turn at its last tick

bool arch_cycles_are_instructions(void) { return instructions; }

// Cycles that a block of instructions takes, with the readings around it.
#define CYCLES_OF(block) ({ \
	u32 _start, _end; \
	__asm__ volatile("rdtsc; movl %%eax, %0; " block " rdtsc; movl %%eax, %1" \
			 : "=&r"(_start), "=&r"(_end) : : "eax", "ecx", "edx", "cc"); \
	_end - _start; })

// Blocks that take a real processor a quarter of a cycle and 20 to 100 cycles per instruction: only a count of
// instructions gives both one cycle per instruction.
static bool counts_instructions(void)
{
	if (!hypervisor_leaf("TCGTCGTCGTCG"))	// the frequencies above are QEMU's
		return false;
	for (int i = 0; i < 3; i++) {
		u32 nothing = CYCLES_OF("");

		if (CYCLES_OF(".rept 64; nop; .endr;") - nothing != 64 ||
		    CYCLES_OF("movl $1, %%ecx; .rept 20; movl $0, %%edx; divl %%ecx; .endr;") - nothing != 41)
			return false;
	}
	return true;
}

static void timer_has_fired(struct trap_frame *f) { apic_eoi(); }

// The firmware's tick would come at any phase, masked or not, and each of its edges ends a CPU's turn in QEMU.
static void stop_pit(void)
{
	enum { CHANNEL0 = 0x40, COMMAND = 0x43, CHANNEL0_ONCE = 0x30 };

	outb(COMMAND, CHANNEL0_ONCE);
	outb(CHANNEL0, 1);
	outb(CHANNEL0, 0);
}

// From the reading on there is one path, so the same number of instructions lies between it and the timer's start, and
// the timer fires at the same distance from the full second whenever this is called.
static void sleep_until_full_second(void)
{
	u64 now;

	apic_write(APIC_TIMER_DIVIDE, DIVIDE_BY_1);
	apic_write(APIC_LVT_TIMER, APIC_TIMER_ONESHOT | VEC_TIMER);
	now = cycles();
	apic_write(APIC_TIMER_COUNT, (u32)(2 * COUNTS_PER_SECOND - now % COUNTS_PER_SECOND));
	irq_enable_and_halt();
	irq_disable();
	apic_write(APIC_LVT_TIMER, APIC_MASKED | VEC_TIMER);
}

// In QEMU a turn ends with HLT, with PAUSE, or when the next timer is due. If it ends by a timer, the next CPU's turn
// is over before it began: so if a CPU executes neither HLT nor PAUSE, the next one would stand still for ever. If each
// tick executed a PAUSE, that next CPU would do nothing but PAUSE, since it has a tick to take whenever its turn comes.
// So every other tick executes one.
void icount_tick(void)
{
	if (!instructions)
		return;
	this_cpu_write(kept_turn, !this_cpu_read(kept_turn));
	if (!this_cpu_read(kept_turn))
		cpu_relax();
}

void icount_init(void)
{
	instructions = counts_instructions();
	if (!instructions)
		return;
	stop_pit();
	arch_set_irq_handler(VEC_TIMER, timer_has_fired);
	sleep_until_full_second();
	log_debug("icount: the TSC counts instructions; the kernel begins at %llu", (unsigned long long)cycles());
}
