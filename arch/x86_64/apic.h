// SPDX-License-Identifier: MIT
// This CPU's local APIC, in xAPIC (memory) or x2APIC (MSR) mode.
#pragma once
#include "kernel/types.h"

// A vector's upper four bits are its priority. All handlers run with interrupts off, so it only orders what is pending.
enum {
	VEC_PIC = 0x20,		// the two 8259: masked, but lines 7 and 15 may still come as spurious ones: strays
	VEC_TIMER = 0xd1,
	VEC_RESCHED = 0xe1,
	VEC_XCALL = 0xf1,
	VEC_APIC_ERROR = 0xfe,
	VEC_SPURIOUS = 0xff,
};

enum apic_reg {
	APIC_ID = 0x20, APIC_VERSION = 0x30, APIC_TPR = 0x80, APIC_EOI = 0xb0, APIC_SPURIOUS = 0xf0, APIC_ISR = 0x100,
	APIC_IRR = 0x200, APIC_ESR = 0x280, APIC_ICR = 0x300, APIC_ICR_HIGH = 0x310,
	APIC_LVT_CMCI = 0x2f0, APIC_LVT_TIMER = 0x320, APIC_LVT_THERMAL = 0x330, APIC_LVT_PERF = 0x340, APIC_LVT_LINT0 = 0x350,
	APIC_LVT_LINT1 = 0x360, APIC_LVT_ERROR = 0x370,
	APIC_TIMER_COUNT = 0x380, APIC_TIMER_NOW = 0x390, APIC_TIMER_DIVIDE = 0x3e0,
};
enum {
	APIC_MASKED = 1 << 16, APIC_LVT_NMI = 4 << 8, APIC_SW_ENABLE = 1 << 8,
	APIC_TIMER_ONESHOT = 0 << 17, APIC_TIMER_PERIODIC = 1 << 17, APIC_TIMER_DEADLINE = 2 << 17,
	// The interrupt command register
	ICR_FIXED = 0 << 8, ICR_NMI = 4 << 8, ICR_INIT = 5 << 8, ICR_STARTUP = 6 << 8,
	ICR_BUSY = 1 << 12, ICR_ASSERT = 1 << 14,
};

u32 apic_own_id(void);			// by CPUID: the full id in either mode, before the APIC is set up too
bool apic_knows_id_by_leaf_b(void);	// … and how the trampoline has to find it
u32 apic_max_id(void);			// the highest that an interrupt can be sent to
void apic_init(void);			// boot CPU, after acpi_init(): choose the mode, silence the old controllers
void apic_init_cpu(void);		// each CPU
u32 apic_read(enum apic_reg reg);
void apic_write(enum apic_reg reg, u32 value);
void apic_eoi(void);
int apic_in_service(void);		// the highest vector that awaits its EOI (SDM vol. 3, 11.8.4); -1: none
bool apic_requested(u8 vector);		// has it been accepted, and does it wait to be delivered (IRR)?
void apic_send(u32 apic_id, u32 command);	// through the ICR; any context
