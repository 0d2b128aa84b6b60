// SPDX-License-Identifier: MIT
// Xen's run-state areas (xen/include/public/vcpu.h): one for each CPU, in which Xen writes whether the CPU runs and for
// how long it has been in each state, whenever it switches to or from it.
//
// Xen writes to a virtual address, by the page tables that the CPU has loaded at that moment. So the area lies in the
// per-CPU data, which every space maps, and crosses no page. Another CPU may read while Xen writes: Xen sets a bit in
// the record before its first store and clears it after the last, once that is asked for (the update flag).
#include "arch/x86_64/xen_runstate.h"
#include "arch/x86_64/xen.h"
#include "kernel/atomic.h"
#include "lab/stall.h"
#include <arch/percpu.h>
#include <arch/steal.h>

enum { REGISTER_RUNSTATE = 5 };		// a command of XEN_VCPU_OP
enum { VM_ASSIST_ENABLE = 0, UPDATE_FLAG = 5 };
static DEFINE_PER_CPU(struct runstate, runstate);

// The flag is asked for once for the whole machine. Asked again, Xen says the same.
const char *arch_runstate_missing(void)
{
	static bool has_update_flag;

	if (!xen_present())
		return "this machine is no guest of Xen";
	if (!has_update_flag)
		has_update_flag = !xen_hypercall(XEN_VM_ASSIST, VM_ASSIST_ENABLE, UPDATE_FLAG, 0);
	return has_update_flag ? NULL : "this Xen does not say when it writes to a run-state area";
}

bool arch_runstate_enable(void)
{
	struct { u64 area; } a = { (uintptr_t)this_cpu_ptr(&runstate) };

	return !xen_hypercall(XEN_VCPU_OP, REGISTER_RUNSTATE, xen_vcpu_number(), (uintptr_t)&a);
}

// One word, so it needs no look at the flag.
bool runstate_preempted(const struct runstate *r) { return READ_ONCE(r->state) == RUNSTATE_RUNNABLE; }

bool arch_runstate_preempted(unsigned cpu) { return runstate_preempted(per_cpu_ptr(&runstate, cpu)); }

u64 arch_runstate_since(unsigned cpu) { return READ_ONCE(per_cpu(runstate, cpu).since); }

u64 runstate_stolen_ns(const struct runstate *r)
{
	u64 since, ns;

	do {
		since = load_acquire(&r->since);	// pairs with Xen's write barrier before it clears the bit
		ns = READ_ONCE(r->ns[RUNSTATE_RUNNABLE]);
		STALL(runstate_read, NULL, 0, 0);
		smp_rmb();	// ns before the second look; pairs with the one after it has set the bit
	} while (since & RUNSTATE_BEING_WRITTEN || READ_ONCE(r->since) != since);
	return ns;
}

u64 arch_runstate_stolen_ns(unsigned cpu) { return runstate_stolen_ns(per_cpu_ptr(&runstate, cpu)); }
