// SPDX-License-Identifier: MIT
// Saving and loading the registers that only programs use.
#include "arch/x86_64/fpu.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/cpuid.h"
#include "arch/x86_64/user.h"
#include "kernel/lib.h"
#include "mm/frame/slab.h"
#include "proc/signal.h"
#include <arch/irq.h>
#include <arch/user.h>

// SDM vol. 1, 13.1: the state components. AVX-512's three go together, and with AVX.
enum { XCR0_X87_SSE = 0x3, XCR0_AVX = 0x4, XCR0_AVX512 = 0xe0 };

bool fpu_has_xsave;
u32 fpu_size = sizeof(struct fx_area), fpu_mxcsr_mask;
u64 fpu_features;

static u64 features_wanted(void)
{
	u64 has = cpuid_count(0xd, 0).eax, v = XCR0_X87_SSE;

	if (has & XCR0_AVX)
		v |= XCR0_AVX;
	if ((has & XCR0_AVX512) == XCR0_AVX512 && (v & XCR0_AVX))
		v |= XCR0_AVX512;
	return v;
}

static bool keeps_pointers;	// cpu_keeps_fpu_pointers()

static u32 find_mxcsr_mask(void)
{
	static struct fx_area area __aligned(16);

	__asm__ volatile("fxsave64 %0" : "=m"(area));
	return area.mxcsr_mask ?: 0xffbf;	// SDM vol. 1, 11.6.6
}

void fpu_init_cpu(bool first)
{
	if (first && cpu_has_xsave()) {
		fpu_has_xsave = true;
		fpu_features = features_wanted();
	}
	if (fpu_has_xsave)
		__asm__ volatile("xsetbv" :: "c"(0), "a"((u32)fpu_features), "d"((u32)(fpu_features >> 32)));
	if (!first)
		return;
	if (fpu_has_xsave)
		fpu_size = cpuid_count(0xd, 0).ebx;	// for what XCR0 now enables
	keeps_pointers = cpu_keeps_fpu_pointers();
	fpu_mxcsr_mask = find_mxcsr_mask();
}

bool fpu_alloc(struct user_context *c)
{
	c->fpu = kmalloc(ALIGN_UP(fpu_size, 64u));
	if (!c->fpu)
		return false;
	fpu_reset(c);
	return true;
}

void fpu_free(struct user_context *c)
{
	kfree(c->fpu);
	c->fpu = NULL;
}

// XSAVE's header, behind the first 512 bytes, says with zeroes that each component is in its initial state.
void fpu_reset(struct user_context *c)
{
	struct fx_area *f = c->fpu;

	memset(f, 0, fpu_size);
	f->fcw = FCW_INITIAL;
	f->mxcsr = MXCSR_INITIAL;
}

void fpu_save(struct user_context *c)
{
	if (fpu_has_xsave)
		__asm__ volatile("xsave64 (%0)" :: "r"(c->fpu), "a"(~0u), "d"(~0u) : "memory");
	else
		__asm__ volatile("fxsave64 (%0)" :: "r"(c->fpu) : "memory");
}

// x87's pointers become the kernel's, so that no program reads where the last one was (CVE-2006-1056). With neither an
// exception pending nor the register in use, the load raises none.
static void overwrite_pointers(void)
{
	static const u32 zero;

	__asm__ volatile("fnclex\n\t"
			 "ffree %%st(7)\n\t"
			 "fildl %0" :: "m"(zero));
}

// What a program has written has been checked (user_signal.c), so that neither can fault.
void fpu_load(struct user_context *c)
{
	if (keeps_pointers)
		overwrite_pointers();
	if (fpu_has_xsave)
		__asm__ volatile("xrstor64 (%0)" :: "r"(c->fpu), "a"(~0u), "d"(~0u) : "memory");
	else
		__asm__ volatile("fxrstor64 (%0)" :: "r"(c->fpu) : "memory");
}

void fpu_save_current(struct user_context *c)
{
	irqflags_t flags = irq_save();

	if (user_held_here(c))
		fpu_save(c);
	irq_restore(flags);
}

// The first of these that is raised and not masked. x87's and MXCSR's flags have the same order (SDM vol. 1, 8.1.3, 10.2.3):
// invalid, denormal, divide by zero, overflow, underflow, precision.
u8 fpu_exception(const struct user_context *c, bool sse)
{
	const struct fx_area *f = c->fpu;
	u32 raised = sse ? f->mxcsr & ~(f->mxcsr >> 7) : f->fsw & ~(u32)f->fcw;

	if (raised & 1)
		return FPE_FLTINV;
	if (raised & 4)
		return FPE_FLTDIV;
	if (raised & 8)
		return FPE_FLTOVF;
	if (raised & (2 | 16))
		return FPE_FLTUND;
	return raised & 32 ? FPE_FLTRES : SI_KERNEL;
}
