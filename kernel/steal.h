// SPDX-License-Identifier: MIT
// Steal time (DESIGN 6): a record per CPU in the layout and with the protocol of KVM's steal-time record. In each run
// all records have one owner (steal=): the hypervisor, or the thief (lab/thief.h). Xen has records of its own, which take
// no requests (arch/steal.h); they tell who is preempted, and nothing is skipped because of that.
//
//   a CPU that flushes                             the owner
//   ------------------                             ---------
//   preempted: PREEMPTED -> PREEMPTED|FLUSH_TLB    preempts the CPU: preempted = PREEMPTED
//   by compare-and-exchange: then no IPI           before it runs again: old = xchg(preempted, 0);
//                                                  old & FLUSH_TLB: flush its whole TLB
#pragma once
#include "kernel/atomic.h"
#include <arch/percpu.h>

enum { STEAL_PREEMPTED = 1, STEAL_FLUSH_TLB = 2 };	// bits of `preempted`

struct steal_record {		// struct kvm_steal_time
	u64 ns;			// steal time so far
	u32 version;		// odd: being written
	u32 flags;
	u8 preempted;
	u8 pad8[3];
	u32 pad[11];
} __aligned(64);
_Static_assert(sizeof(struct steal_record) == 64, "KVM's layout");
DECLARE_PER_CPU(struct steal_record, steal_record);

enum steal_owner { STEAL_NONE, STEAL_THIEF, STEAL_KVM, STEAL_XEN };
enum steal_owner steal_owner(void);	// known after the command line: steal=, or the hypervisor if it offers that, or thief
const char *steal_missing(void);	// NULL: the records have an owner that flushes; otherwise why not
void steal_init_cpu(void);		// each CPU, before it enables interrupts: hands its record to the owner
// If that CPU is preempted, mark it so that it flushes before it runs its next instruction. False: it runs (or nobody
// would flush for it). Any context.
bool steal_flush_later(unsigned cpu);
bool steal_preempted(unsigned cpu);	// is it, according to the owner? A hint: it may be out of date at once. Any context
u64 steal_ns(unsigned cpu);		// that CPU's steal time so far, as the owner of its record counts it
