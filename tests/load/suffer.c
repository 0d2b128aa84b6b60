// SPDX-License-Identifier: MIT
// What disturbs the load from outside: threads that move between CPUs, CPUs that idle, CPUs that are preempted, and
// walks in interrupts and NMIs, which may come in the middle of a walk.
#include "kernel/atomic.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "kernel/xcall.h"
#include "lab/thief.h"
#include "mm/walk.h"
#include "tests/load/parts.h"
#include <arch/ipi.h>
#include <arch/machine.h>

#define US 1000ull		// ns

// Walker 0 stays on its CPU: its stall points match only that, and the robber leaves that CPU alone.
void wander(struct worker *w)
{
	struct cpumask there = { 0 };

	if (w->lingers || RANDOM(w, 16))
		return;
	if (!RANDOM(w, 4)) {
		thread_sleep_ns(RANDOM(w, 8) * NSEC_PER_MSEC);
		return;
	}
	cpumask_set(&there, RANDOM(w, 2) ? w->home : RANDOM(w, nr_cpus));
	thread_set_affinity(&there);
}

void go_in_or_out(struct worker *w, unsigned at)
{
	struct load *l = w->load;

	if (w->inside == at)
		return;
	if (w->inside < l->nr_spaces)
		space_detach();
	w->inside = at;
	if (at < l->nr_spaces)
		space_attach(l->space[at]);
}

// Has the thief preempt one CPU at a time, for 0.1 to 5 ms.
int robber(void *arg)
{
	struct worker *w = arg;

	while (!READ_ONCE(w->load->stop)) {
		unsigned cpu = RANDOM(w, nr_cpus);
		u64 ns = (100 + RANDOM(w, 4900)) * US;

		thread_sleep_ns(RANDOM(w, 30) * NSEC_PER_MSEC);
		if (cpu == w->load->lingerer)
			continue;
		thief_rob(cpu, ns);
		if (cpu != w->home)
			thread_sleep_ns(ns);
		thief_wait_back(cpu);
		w->found.thefts++;
	}
	return 0;
}

// ---- Walks in interrupts and NMIs -----------------------------------------------------------------------------------
// An interrupt's handler walks, judges and unpins. An NMI's handler must not put a last reference, so it walks to the
// page that stays, and leaves the pin to a thread: IDLE -> TAKEN (by the thread that asks) -> ASKED -> DONE (by the
// handler) -> IDLE (by the thread that unpins).

enum { NMI_IDLE, NMI_TAKEN, NMI_ASKED, NMI_DONE };

struct interrupted {
	struct worker w;	// the interrupts' own: seed and account
	struct xcall call;
	u32 calls_asked;	// the interrupter's own
	u32 calls_done;
	u32 nmi;
	unsigned at;		// of the walk in the NMI: the space
	struct page *page;	// … and what it has pinned, or NULL
	u64 nmi_walks, nmi_bad;	// counted by the thread that unpins
};
static DEFINE_PER_CPU(struct interrupted, interrupted);

static void walk_in_interrupt(void *cpu)
{
	struct interrupted *in = cpu;
	struct worker *w = &in->w;
	struct load *l = w->load;
	struct slot s = slot_of(RANDOM(w, GROUPS), RANDOM(w, SLOTS));
	unsigned at = RANDOM(w, l->nr_spaces), there = READ_ONCE(l->lingering), first;

	if (there && RANDOM(w, 2)) {	// much happens where walker 0 lingers
		at = there - 1;
		s = slot_of(bait_of(READ_ONCE(l->bait)).g, RANDOM(w, SLOTS));
	}
	first = RANDOM(w, s.pages);
	pin_fast(w, at, &s, first, 1 + RANDOM(w, s.pages - first), !RANDOM(w, 8));
	WRITE_ONCE(w->found.interrupt_walks, w->found.interrupt_walks + 1);
	store_release(&in->calls_done, in->calls_done + 1);
}

static void walk_in_nmi(void)
{
	struct interrupted *in = this_cpu_ptr(&interrupted);
	struct space *s;

	if (load_acquire(&in->nmi) != NMI_ASKED)	// pairs with ask_nmi()
		return;
	s = in->w.load->space[in->at];
	if (s->policy->walk(s, STILL_VA, 1, false, &in->page) != 1)
		in->page = NULL;
	store_release(&in->nmi, (u32)NMI_DONE);
}
NMI_HANDLER(walk_in_nmi);

static bool ask_nmi(unsigned cpu, unsigned at)
{
	struct interrupted *in = per_cpu_ptr(&interrupted, cpu);

	if (!cmpxchg(&in->nmi, (u32)NMI_IDLE, (u32)NMI_TAKEN))
		return false;
	in->at = at;
	store_release(&in->nmi, (u32)NMI_ASKED);
	arch_send_ipi(cpu, IPI_NMI);
	return true;
}

// Judge and unpin what a walk in an NMI has left, if anything.
static void clear_up(unsigned cpu)
{
	struct interrupted *in = per_cpu_ptr(&interrupted, cpu);

	if (READ_ONCE(in->nmi) != NMI_DONE || !cmpxchg(&in->nmi, (u32)NMI_DONE, (u32)NMI_TAKEN))
		return;
	WRITE_ONCE(in->nmi_walks, in->nmi_walks + 1);
	if (in->page) {
		in->nmi_bad += !stamp_fits(in->at, STILL_VA, READ_ONCE(*(u64 *)page_to_virt(in->page)), 0);
		page_unpin(in->page, false);
	}
	store_release(&in->nmi, (u32)NMI_IDLE);
}

// Preemption or interrupts are off. The NMI comes at once, unless another one is being served.
void walk_in_own_nmi(void)
{
	unsigned cpu = cpu_id();

	clear_up(cpu);
	if (ask_nmi(cpu, 0))
		spin_until(READ_ONCE(per_cpu(interrupted, cpu).nmi) != NMI_ASKED, "a walk in an NMI", cpu);
}

void interrupts_begin(struct load *l, unsigned first_index, u64 seed)
{
	for_each_cpu(cpu)
		per_cpu(interrupted, cpu) = (struct interrupted){
			.w = { .load = l, .index = first_index + cpu, .seed = seed ^ (u64)(first_index + cpu + 1) << 32 },
			.call.fn = walk_in_interrupt, .call.arg = per_cpu_ptr(&interrupted, cpu) };
}

void interrupts_so_far(struct mm_load_result *r)
{
	for_each_cpu(cpu) {
		r->interrupt_walks += READ_ONCE(per_cpu(interrupted, cpu).w.found.interrupt_walks);
		r->nmi_walks += READ_ONCE(per_cpu(interrupted, cpu).nmi_walks);
	}
}

void interrupts_add(struct mm_load_result *r)
{
	for_each_cpu(cpu) {
		const struct interrupted *in = per_cpu_ptr(&interrupted, cpu);

		mm_load_add(r, &in->w.found);
		r->nmi_walks += in->nmi_walks;
		r->bad_pins += in->nmi_bad;
	}
}

static void interrupt_one(struct worker *w)
{
	unsigned cpu = READ_ONCE(w->load->lingering) && RANDOM(w, 2) ? w->load->lingerer : RANDOM(w, nr_cpus);
	struct interrupted *in = per_cpu_ptr(&interrupted, cpu);

	if (RANDOM(w, 2)) {
		clear_up(cpu);
		ask_nmi(cpu, RANDOM(w, w->load->nr_spaces));
	} else {
		in->calls_asked += xcall_async(cpu, &in->call);
	}
}

#define BURST 16	// a thread does not sleep for less than a tick

// All that was asked for has been done when it ends.
int interrupter(void *arg)
{
	struct worker *w = arg;

	while (READ_ONCE(w->load->stop) < 2) {
		for (unsigned i = 0; i < BURST; i++) {
			interrupt_one(w);
			thread_yield();
		}
		thread_sleep_ns(US);
	}
	for_each_cpu(cpu) {
		struct interrupted *in = per_cpu_ptr(&interrupted, cpu);

		while (load_acquire(&in->calls_done) != in->calls_asked || READ_ONCE(in->nmi) != NMI_IDLE) {
			clear_up(cpu);
			thread_sleep_ns(US);
		}
	}
	return 0;
}
