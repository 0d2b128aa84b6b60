// SPDX-License-Identifier: MIT
// This CPU's control registers.
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/cpuid.h"
#include "arch/x86_64/fpu.h"
#include "arch/x86_64/gdt.h"
#include "arch/x86_64/idt.h"
#include "arch/x86_64/io.h"
#include "arch/x86_64/user.h"
#include <arch/pte.h>
#include <arch/percpu.h>
#include <arch/tlb.h>

bool cpu_smap;

bool cpu_has_nx(void) { return cpuid_has_leaf(0x80000001) && (cpuid(0x80000001).edx >> 20 & 1); }

void cpu_flush_caches(void) { __asm__ volatile("wbinvd" ::: "memory"); }

bool cpu_has_xsave(void) { return cpuid(1).ecx >> 26 & 1; }
bool cpu_has_pat(void) { return cpuid(1).edx >> 16 & 1; }

u64 cpu_phys_end(void) { return 1ull << (cpuid_has_leaf(0x80000008) ? MIN(cpuid(0x80000008).eax & 0xff, 52u) : 36); }

static void write_cr0(u64 v) { __asm__ volatile("mov %0, %%cr0" :: "r"(v) : "memory"); }
void cpu_serialize(void) { cpuid(0); }

void cpu_write_protect(bool on) { write_cr0(on ? CR0_KERNEL : CR0_KERNEL & ~CR0_WP); }
static void write_cr4(u64 v) { __asm__ volatile("mov %0, %%cr4" :: "r"(v) : "memory"); }

u64 cpu_cr4_wanted(void)
{
	struct cpuid_regs basic = cpuid(1), more = { 0 };
	u64 v = CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT;	// every 64-bit CPU has SSE2

	if (cpuid_has_leaf(7))
		more = cpuid_count(7, 0);
	if (basic.edx >> 7 & 1)
		v |= CR4_MCE;		// without it a machine check would be a shutdown
	if (cpu_has_xsave())
		v |= CR4_OSXSAVE;
	// Not FSGSBASE: with it a program could give its GS base the kernel's sign, which the paranoid entries go by.
	if (more.ebx >> 7 & 1)
		v |= CR4_SMEP;
	if (more.ebx >> 20 & 1)
		v |= CR4_SMAP;
	if (more.ecx >> 2 & 1)
		v |= CR4_UMIP;
	return v;
}

void arch_cpu_setup(unsigned cpu)
{
	u64 cr4 = cpu_cr4_wanted();

	wrmsr(MSR_GS_BASE, percpu_offset[cpu]);
	if (cpu_has_nx())
		wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
	if (cpu_has_pat())
		wrmsr(MSR_PAT, PAT_KERNEL);	// CR4 is written below: its PGE flushes what was translated before
	arch_load_root(arch_kernel_root());
	write_cr0(CR0_KERNEL);
	write_cr4(cr4);
	if (!cpu)
		cpu_smap = cr4 & CR4_SMAP;
	gdt_load(cpu);
	idt_load();
	fpu_init_cpu(cpu == 0);
	user_init_cpu();
}
