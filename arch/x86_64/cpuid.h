// SPDX-License-Identifier: MIT
// CPUID: what this processor has.
#pragma once
#include "kernel/types.h"

struct cpuid_regs {
	u32 eax, ebx, ecx, edx;
};

static inline struct cpuid_regs cpuid_count(u32 leaf, u32 subleaf)
{
	struct cpuid_regs r;

	__asm__ volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf), "c"(subleaf));
	return r;
}
static inline struct cpuid_regs cpuid(u32 leaf) { return cpuid_count(leaf, 0); }
// Each range of leaves begins with one that names its highest: 0, 0x40000000 (hypervisor), 0x80000000 (extended).
static inline bool cpuid_has_leaf(u32 leaf)
{
	u32 max = cpuid(leaf & 0xffff0000).eax;

	return max >= leaf && (max & 0xffff0000) == (leaf & 0xffff0000);
}

// Do XRSTOR and FXRSTOR leave x87's last instruction and operand pointers alone if no exception is pending? On AMD's
// processors, unless they report that these are restored, too (APM vol. 3, CPUID 8000_0008h).
static inline bool cpu_keeps_fpu_pointers(void)
{
	bool amd = cpuid(0).ebx == 0x68747541;		// "Auth"

	return amd && !(cpuid_has_leaf(0x80000008) && (cpuid(0x80000008).ebx >> 2 & 1));
}

// Leaf 1
static inline bool cpu_has_apic(void) { return cpuid(1).edx >> 9 & 1; }
static inline bool cpu_has_x2apic(void) { return cpuid(1).ecx >> 21 & 1; }
static inline bool cpu_has_tsc_deadline(void) { return cpuid(1).ecx >> 24 & 1; }
static inline bool cpu_has_hypervisor(void) { return cpuid(1).ecx >> 31 & 1; }
// The TSC runs at a constant rate in all power states.
static inline bool cpu_has_invariant_tsc(void)
{
	return cpuid_has_leaf(0x80000007) && (cpuid(0x80000007).edx >> 8 & 1);
}
