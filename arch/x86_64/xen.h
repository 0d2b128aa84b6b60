// SPDX-License-Identifier: MIT
// A guest of Xen (HVM or PVH): hypercalls, and what the machine needs of them. Facts from Xen's public headers
// (xen/include/public) and from "Xen's CPUID leaves" there (arch-x86/cpuid.h).
#pragma once
#include "arch/x86_64/bootinfo.h"

// Hypercalls by number, and commands of those that have several.
enum { XEN_MEMORY_OP = 12, XEN_VM_ASSIST = 21, XEN_VCPU_OP = 24, XEN_SCHED_OP = 29, XEN_EVENT_OP = 32, XEN_HVM_OP = 34 };
enum { XEN_HVM_GET_PARAM = 1, XEN_HVM_FLUSH_TLBS = 5 };
enum { XEN_EVENT_SEND = 4 };

void xen_init(void);		// boot CPU, first of all: looks for Xen, and makes the hypercall page
bool xen_present(void);		// is this a guest of Xen? (From xen_init() on)
// Arguments that are pointers are virtual addresses. Returns what Xen returns: negative numbers are errors. Only where
// xen_present(). Any context.
s64 xen_hypercall(unsigned nr, u64 a, u64 b, u64 c);
u64 xen_hvm_param(u32 index);	// of this domain; 0: none
u32 xen_vcpu_number(void);	// by which Xen knows this CPU

bool xen_memory_map(struct boot_info *b);	// asks for the map that a start_info of version 0 lacks. False: refused
u64 xen_tsc_hz(void);				// exact; 0: Xen does not say
#define XEN_APIC_HZ 100000000u			// of every guest's local APIC timer, before its divider: a constant of Xen's
void xen_shutdown(int status);	// the domain ends, and its toolstack is told 0x10 + status; dom0: the machine powers off
