// SPDX-License-Identifier: MIT
// Interrupts of a CPU that is a pthread: others set bits in its `pending` word; it looks at every yield point.
//
//   sender                               CPU that halts
//   ------                               --------------
//   pending |= bit   (full barrier)      halted = 1       (full barrier)
//   halted? wake the futex         <-->  pending == 0? sleep on the futex (compared again by Linux)
//
// One of the two sees the other. A spinning CPU finds the bit at its next access to shared memory.
#include "kernel/irq.h"
#include "kernel/atomic.h"
#include "kernel/panic.h"
#include "kernel/preempt.h"
#include "kernel/sched.h"
#include "kernel/time.h"
#include "kernel/xcall.h"
#include <arch/ipi.h>
#include <arch/machine.h>
#include "arch/host/host.h"
#include "arch/host/irq.h"
#include "arch/host/os.h"
#include "arch/host/steps.h"

#define RELAX_YIELD 32	// let another pthread run after so many: there are often fewer processors than CPUs

DEFINE_PER_CPU(struct host_irq, host_irq);

void host_fence(void)
{
	static u32 dummy;

	__atomic_fetch_add(&dummy, 0, __ATOMIC_SEQ_CST);
}

void host_raise(unsigned cpu, u32 bit)
{
	struct host_irq *i = per_cpu_ptr(&host_irq, cpu);

	__atomic_fetch_or(&i->pending, bit, __ATOMIC_SEQ_CST);
	if (steps_on)
		steps_wake(cpu);
	else if (__atomic_load_n(&i->halted, __ATOMIC_SEQ_CST))
		os_futex_wake(&i->pending);
}

static u32 ipi_bit(enum ipi kind)
{
	return kind == IPI_NMI ? HOST_NMI : kind == IPI_XCALL ? HOST_XCALL : HOST_RESCHED;
}

void arch_send_ipi(unsigned cpu, enum ipi kind)
{
	host_raise(cpu, ipi_bit(kind));
	arch_yield_point();	// an IPI to the own CPU arrives at once
}

void arch_send_ipi_mask(const struct cpumask *mask, enum ipi kind)
{
	unsigned self = cpu_id();

	for_each_cpu_in(cpu, mask)
		if (cpu != self)
			host_raise(cpu, ipi_bit(kind));
}

// As on hardware the interrupt flag is off inside, and a second NMI waits for the end of the first.
static void take_nmi(struct host_irq *i)
{
	uintptr_t outer = i->interrupted;
	u8 enabled = i->enabled;

	i->enabled = 0;
	i->nmi_blocked = 1;
	i->interrupted = (uintptr_t)__builtin_frame_address(0);
	__atomic_fetch_and(&i->pending, ~(u32)HOST_NMI, __ATOMIC_SEQ_CST);
	nmi_enter();
	if (!panic_in_progress()) {
		FOR_EACH_REGISTERED(nmi_handlers, nmi_handler_fn, fn)
			(*fn)();
	} else if (!panic_is_mine()) {
		panic_stop_this_cpu();
	}
	nmi_exit();
	i->interrupted = outer;
	i->nmi_blocked = 0;
	i->enabled = enabled;
}

static void take_interrupt(struct host_irq *i, u32 bit, bool halting)
{
	bool quiescent = halting || this_cpu_read(preempt_count) == 0;
	uintptr_t outer = i->interrupted;

	i->enabled = 0;
	i->interrupted = (uintptr_t)__builtin_frame_address(0);
	__atomic_fetch_and(&i->pending, ~bit, __ATOMIC_SEQ_CST);
	irq_enter();
	if (bit == HOST_XCALL)
		xcall_interrupt();
	else if (bit == HOST_RESCHED)
		ipi_reschedule();
	else
		time_interrupt(quiescent);
	irq_exit();
	i->interrupted = outer;
	irq_preempt();	// may return on another CPU
	host_this(host_irq)->enabled = 1;
}

// Take everything that may be taken; true: something was. The flag is off in handlers: no nesting.
static __noinline bool take_pending(bool halting)
{
	bool taken = false;

	for (;;) {
		struct host_irq *i = host_this(host_irq);
		u32 p = __atomic_load_n(&i->pending, __ATOMIC_ACQUIRE);

		if (p & HOST_NMI && !i->nmi_blocked) {
			take_nmi(i);
		} else if (p & ~(u32)(HOST_NMI | HOST_STEP) && i->enabled) {
			p &= ~(u32)(HOST_NMI | HOST_STEP);
			take_interrupt(i, p & -p, halting);
			halting = false;	// irq_preempt() may have run other threads since
		} else {
			return taken;
		}
		taken = true;
	}
}

void host_poll(void)
{
	if (steps_on)
		steps_point(false);
	take_pending(false);
}

void host_relax(void)
{
	struct host_irq *i = host_this(host_irq);

	if (steps_on)
		steps_point(true);
	else if (++i->relaxed % RELAX_YIELD == 0)
		os_yield();
	take_pending(false);
}

void host_halt(void)
{
	struct host_irq *i = host_this(host_irq);

	i->enabled = 1;
	while (!take_pending(true)) {
		if (steps_on) {
			steps_halt();
			continue;
		}
		__atomic_store_n(&i->halted, 1, __ATOMIC_SEQ_CST);
		os_futex_wait(&i->pending, 0);
		__atomic_store_n(&i->halted, 0, __ATOMIC_RELAXED);
	}
}
