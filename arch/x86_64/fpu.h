// SPDX-License-Identifier: MIT
// A program's x87, SSE and AVX registers. The kernel uses none of them, so they stay in the CPU until another program's
// thread runs there; they are saved whenever the scheduler leaves their thread, so that they may be loaded on any CPU.
#pragma once
#include "kernel/types.h"

struct user_context;

#define FCW_INITIAL 0x37f
#define MXCSR_INITIAL 0x1f80
// FXSAVE's image, which every area begins with. Linux describes what follows it in bytes that the processor leaves
// alone.
struct fx_area {
	u16 fcw, fsw, ftw, fop;
	u64 fip, fdp;
	u32 mxcsr, mxcsr_mask;
	u8 st[128], xmm[256], reserved[48];
	struct {
		u32 magic1, extended_size;
		u64 features;
		u32 size, padding[7];
	} sw;
};
_Static_assert(sizeof(struct fx_area) == 512 && offsetof(struct fx_area, sw) == 464, "SDM vol. 1, 10.5.1; Linux's ABI");

extern bool fpu_has_xsave;	// otherwise the area is FXSAVE's 512 bytes
extern u32 fpu_size;		// bytes of the area, in XSAVE's standard format
extern u64 fpu_features;	// XCR0: x87, SSE, AVX, AVX-512, as far as the CPU has them
extern u32 fpu_mxcsr_mask;	// bits that MXCSR has

void fpu_init_cpu(bool first);
bool fpu_alloc(struct user_context *c);		// an area in the initial state; false: no memory
void fpu_free(struct user_context *c);
void fpu_reset(struct user_context *c);		// the initial state. Not while a CPU holds c's: user_reload() first
void fpu_save(struct user_context *c);		// the CPU's registers into the area. IRQs off, this CPU holds them
void fpu_load(struct user_context *c);		// IRQs off
void fpu_save_current(struct user_context *c);	// make the area current. By the thread itself, which is in the kernel
// After #MF (sse: #XM), the area being current: Linux's si_code for it.
u8 fpu_exception(const struct user_context *c, bool sse);
