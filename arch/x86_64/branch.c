// SPDX-License-Identifier: MIT
// The branch that is patched. All CPUs meet in their NMI handlers; one of them writes while the others spin there.
//
//	caller (preemption off)        each CPU's NMI handler                 the caller's own
//	-----------------------        ----------------------                 ----------------
//	to, writer, left = n           asked? xchg(asked, 0)                  the same, and left--
//	asked[c] = 1, for each c       left--                     ---------> left == 0: write all sites
//	NMI to all, itself too         done == turn? leave        <--------- done = turn (release)
//
// Why it is right
//   Between the last arrival and `done` no CPU executes anything but the spin below and what the writer calls: no NMI
//   is delivered inside an NMI handler, not even on the writer's CPU, and a machine check ends the run. So no CPU can
//   meet a half-written instruction, and five bytes need not be one store, nor lie in one cache line or page.
//   Old code may have been fetched ahead. It is thrown away: each CPU leaves by IRET, which serialises (SDM vol. 3,
//   9.1.3).
//   No CPU waits for a lock here, and an NMI is taken whatever the interrupt flag says. So a CPU that spins with
//   interrupts off, for a lock of a CPU that has arrived before it, still arrives.
//   A CPU that is slow to leave reads `done` again: `turn` only grows, and the next meeting needs that CPU's arrival.
//
// The text is mapped read-only in both of its mappings, and stays so: the writer clears CR0.WP for the time of its
// stores. That concerns its own CPU alone, and leaves no writable alias behind and no entry in any TLB.
#include "arch/x86_64/cpu.h"
#include "kernel/cpumask.h"
#include "kernel/lib.h"
#include "kernel/panic.h"
#include "kernel/preempt.h"
#include "kernel/time.h"
#include "lab/stall.h"
#include <arch/branch.h>
#include <arch/ipi.h>
#include <arch/machine.h>

#define SITE_BYTES 5
extern const struct branch_site __start_branch_sites[] __attribute__((weak)), __stop_branch_sites[] __attribute__((weak));

static struct {
	bool to;
	unsigned writer;
	u32 left;	// CPUs that have not arrived
	u64 turn, done;
} meeting;
static DEFINE_PER_CPU(u32, asked);

static void write_site(const struct branch_site *s, bool on)
{
	static const u8 nop[SITE_BYTES] = { 0x0f, 0x1f, 0x44, 0x00, 0x00 };
	u8 jump[SITE_BYTES] = { 0xe9 };
	s32 distance = (s32)(s->to - (s->at + SITE_BYTES));

	memcpy(jump + 1, &distance, sizeof(distance));
	ASSERT(!memcmp(s->at, on ? nop : jump, SITE_BYTES));
	memcpy(s->at, on ? jump : nop, SITE_BYTES);
}

static void write_sites(void)
{
	cpu_write_protect(false);
	for (const struct branch_site *s = __start_branch_sites; s < __stop_branch_sites; s++)
		write_site(s, meeting.to);
	cpu_write_protect(true);
}

static void meet(void)
{
	u64 turn;

	if (!xchg(this_cpu_ptr(&asked), 0))	// acquires what the caller wrote before it asked
		return;				// the NMI is for another handler
	turn = meeting.turn;
	fetch_sub(&meeting.left, 1);	// full: what ran here before is done; pairs with the writer's load_acquire
	if (cpu_id() == meeting.writer) {
		spin_until(!load_acquire(&meeting.left) || panic_in_progress(), "the CPUs to be stopped", -1);
		if (!panic_in_progress())
			write_sites();
		store_release(&meeting.done, turn);	// the code is written; pairs with the others' load_acquire, and the caller's
	} else {
		spin_until(load_acquire(&meeting.done) >= turn || panic_in_progress(), "the branch to be written", -1);
	}
	cpu_serialize();	// handlers that run after this one have such branches, too
}
NMI_HANDLER(meet);

void arch_branch_turn(bool on)
{
	irqflags_t flags;
	u64 turn;

	ASSERT_MAY_SLEEP();
	preempt_disable();
	turn = meeting.turn = meeting.done + 1;
	meeting.to = on;
	meeting.writer = cpu_id();
	WRITE_ONCE(meeting.left, cpumask_weight(&cpus_online));
	flags = irq_save();		// an interrupt here could wait for a lock of a CPU that has been stopped
	for_each_cpu_in(cpu, &cpus_online)
		if (cpu != cpu_id())
			xchg(&per_cpu(asked, cpu), 1);	// releases the above; pairs with meet()
	STALL(branch_asked, NULL, 0, 0);	// the other CPUs are asked, and their NMIs are not yet sent
	arch_send_ipi_mask(&cpus_online, IPI_NMI);
	xchg(this_cpu_ptr(&asked), 1);	// last: from here on any NMI makes this CPU wait for all that got one above
	arch_send_ipi(cpu_id(), IPI_NMI);
	irq_restore(flags);
	spin_until(load_acquire(&meeting.done) == turn, "the branch to be written", -1);
	preempt_enable();
}
