// SPDX-License-Identifier: MIT
// This CPU's control registers, feature bits and descriptors.
#pragma once
#include "kernel/types.h"

enum {
	CR0_PE = 1 << 0, CR0_MP = 1 << 1, CR0_EM = 1 << 2, CR0_NE = 1 << 5, CR0_WP = 1 << 16, CR0_AM = 1 << 18,
	CR4_PAE = 1 << 5, CR4_MCE = 1 << 6, CR4_PGE = 1 << 7, CR4_OSFXSR = 1 << 9, CR4_OSXMMEXCPT = 1 << 10,
	CR4_UMIP = 1 << 11, CR4_OSXSAVE = 1 << 18, CR4_SMEP = 1 << 20, CR4_SMAP = 1 << 21,
	EFER_SCE = 1 << 0, EFER_LME = 1 << 8, EFER_NXE = 1 << 11,
};
#define CR0_PG (1u << 31)
#define CR0_KERNEL (CR0_PE | CR0_MP | CR0_NE | CR0_WP | CR0_AM | CR0_PG)
#define MSR_EFER 0xc0000080u
#define MSR_GS_BASE 0xc0000101u
// The page attribute table (SDM vol. 3, 11.12): entries 0 to 3 as after a reset, which all else relies on, and entry 4
// write-combining. No CPU uses entry 4 before it has set it so.
#define MSR_PAT 0x277u
#define PAT_KERNEL 0x0007040100070406ull

// Make this CPU like all others: GS base first (per-CPU data works from here on), kernel root, control registers, GDT,
// TSS, IDT. The caller runs at kernel addresses in long mode on its final stack, with EFER.NXE set if the CPU has NX.
// CPU 0: by arch_init_early(). The others: percpu_alloc() has been called.
void arch_cpu_setup(unsigned cpu);
bool cpu_has_nx(void);
bool cpu_has_pat(void);
bool cpu_has_xsave(void);
void cpu_flush_caches(void);		// write all lines back and drop them (WBINVD): slow
void cpu_serialize(void);		// code modified before this runs as modified after it (SDM vol. 3, 9.1.3)
void cpu_write_protect(bool on);	// may this CPU's kernel write to read-only pages? Off only while nothing else runs on it
u64 cpu_phys_end(void);		// one past the highest physical address that it can name
u64 cpu_cr4_wanted(void);	// what arch_cpu_setup() puts into CR4: the same on all

// With SMAP, supervisor code reaches user memory only while RFLAGS.AC is set. By POPFQ rather than STAC and CLAC, which
// not every hypervisor's instruction emulator knows (it then ends the virtual machine).
extern bool cpu_smap;
#define X86_RFLAGS_AC (1ull << 18)
enum {
	RFLAGS_CF = 1 << 0, RFLAGS_FIXED = 1 << 1, RFLAGS_PF = 1 << 2, RFLAGS_AF = 1 << 4, RFLAGS_ZF = 1 << 6,
	RFLAGS_SF = 1 << 7, RFLAGS_TF = 1 << 8, RFLAGS_DF = 1 << 10, RFLAGS_OF = 1 << 11, RFLAGS_IOPL = 3 << 12,
	RFLAGS_NT = 1 << 14, RFLAGS_RF = 1 << 16,
};
static inline void user_memory_open(void)
{
	if (cpu_smap)
		__asm__ volatile("pushfq; orq %0, (%%rsp); popfq" :: "i"(X86_RFLAGS_AC) : "memory", "cc");
}
static inline void user_memory_close(void)
{
	if (cpu_smap)
		__asm__ volatile("pushfq; andq %0, (%%rsp); popfq" :: "i"(~X86_RFLAGS_AC) : "memory", "cc");
}
