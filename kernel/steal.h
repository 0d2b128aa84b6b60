// SPDX-License-Identifier: MIT
// Stolen time (DESIGN 6): a record per CPU in the layout and with the protocol of KVM's steal-time record, and one owner
// of all of them per run (steal=): the hypervisor, or the thief (lab/thief.h).
//
//   who flushes                                    the owner
//   -----------                                    ---------
//   preempted: PREEMPTED -> PREEMPTED|FLUSH_TLB    takes the CPU away: preempted = PREEMPTED
//   by compare-and-exchange: then no IPI           before it runs again: old = xchg(preempted, 0);
//                                                  old & FLUSH_TLB: flush its whole TLB
#pragma once
#include "kernel/atomic.h"
#include <arch/percpu.h>

enum { STEAL_PREEMPTED = 1, STEAL_FLUSH_TLB = 2 };	// bits of `preempted`

struct steal_record {		// struct kvm_steal_time
	u64 ns;			// stolen so far
	u32 version;		// odd: being written
	u32 flags;
	u8 preempted;
	u8 pad8[3];
	u32 pad[11];
} __aligned(64);
_Static_assert(sizeof(struct steal_record) == 64, "KVM's layout");
DECLARE_PER_CPU(struct steal_record, steal_record);

enum steal_owner { STEAL_NONE, STEAL_THIEF, STEAL_KVM };
enum steal_owner steal_owner(void);	// after the command line: steal=, or by default kvm where offered, else thief
const char *steal_missing(void);	// NULL: the records have an owner; else why not
void steal_init_cpu(void);		// each CPU, before it enables interrupts: hands its record to the owner
// Mark a CPU that is away so that it flushes before it runs its next instruction. False: it runs (or nobody would do
// it). Any context.
bool steal_flush_later(unsigned cpu);
u64 steal_ns(unsigned cpu);		// stolen from that CPU so far, by its owner's account
