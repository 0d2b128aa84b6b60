// SPDX-License-Identifier: MIT
// The frame of a signal on a program's stack, laid out as Linux does (struct rt_sigframe, struct sigcontext,
// struct ucontext). From high to low addresses:
//
//	the program's stack, and its red zone of 128 bytes (or nothing: the top of the alternate stack)
//	MAGIC2						only with XSAVE
//	the FPU's area, aligned to 64 bytes		XSAVE's standard format, or FXSAVE's 512 bytes
//	struct rt_sigframe				so that its address, the handler's rsp, is 8 modulo 16
//
// All that comes back from there is hostile. It is copied into the kernel before it is looked at.
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/fpu.h"
#include "arch/x86_64/user.h"
#include "kernel/errno.h"
#include "kernel/lib.h"
#include <arch/uaccess.h>
#include <arch/user.h>

#define RED_ZONE 128
#define FRAME_ALIGN 16
#define FPU_ALIGN 64		// of XSAVE; FXSAVE needs 16
#define FXSAVE_ALIGN 16
#define MAGIC1 0x46505853u
#define MAGIC2 0x46505845u
#define MAGIC2_SIZE 4
#define X87_SSE 3ull
#define SSE_AVX 6ull

// What sigreturn may change.
#define RFLAGS_PROGRAM (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_TF | RFLAGS_DF | \
			RFLAGS_OF | RFLAGS_RF | X86_RFLAGS_AC)
enum { UC_FP_XSTATE = 1, UC_SIGCONTEXT_SS = 2, UC_STRICT_RESTORE_SS = 4 };

struct sigcontext {
	u64 r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, rflags;
	u16 cs, gs, fs, ss;
	u64 error, trap, mask, cr2;
	vaddr_t fpstate;
	u64 reserved[8];
};

struct rt_sigframe {
	vaddr_t restorer;
	struct {
		u64 flags, link;
		struct user_sigstack stack;
		struct sigcontext registers;
		u64 mask;
	} uc;
	struct user_siginfo info;
};
_Static_assert(sizeof(struct user_sigstack) == 24 && sizeof(struct user_siginfo) == 128, "Linux's ABI");
_Static_assert(sizeof(struct sigcontext) == 256 && sizeof(struct rt_sigframe) == 440, "Linux's ABI");
_Static_assert(offsetof(struct rt_sigframe, uc) == 8 && offsetof(struct rt_sigframe, info) == 312, "Linux's ABI");

// XSAVE's header behind it (SDM vol. 1, 13.4.2).
struct xsave_header {
	u64 bv, compaction, must_be_zero, ignored[5];
};
#define HEADER_OFFSET sizeof(struct fx_area)
#define EXTENDED_OFFSET (HEADER_OFFSET + sizeof(struct xsave_header))

static u32 fpstate_size(void) { return fpu_size + (fpu_has_xsave ? MAGIC2_SIZE : 0); }

u64 arch_user_min_sigstack(void)
{
	u64 padding = FRAME_ALIGN + FPU_ALIGN;	// what place() loses at most

	return ALIGN_UP(sizeof(struct rt_sigframe) + fpstate_size() + padding, (u64)FRAME_ALIGN);
}

// Parts that XSAVE has marked as in their initial state are filled in: Linux's programs read x87's and SSE's
// registers without a look at the header.
static void fill_in_initial(struct fx_area *fx, u64 bv)
{
	if (!(bv & 1)) {
		memset(fx, 0, offsetof(struct fx_area, mxcsr));
		memset(fx->st, 0, sizeof(fx->st));
		fx->fcw = FCW_INITIAL;
	}
	if (!(bv & 2))
		memset(fx->xmm, 0, sizeof(fx->xmm));
}

static int push_extended(vaddr_t to, struct user_context *c, struct fx_area *fx)
{
	const struct xsave_header *in = (const void *)((const u8 *)c->fpu + HEADER_OFFSET);
	struct xsave_header header = { .bv = in->bv | X87_SSE };
	u32 magic2 = MAGIC2;

	fill_in_initial(fx, in->bv);
	fx->sw.magic1 = MAGIC1;
	fx->sw.extended_size = fpu_size + MAGIC2_SIZE;
	fx->sw.features = fpu_features;
	fx->sw.size = fpu_size;
	if (copy_out(to + HEADER_OFFSET, &header, sizeof(header)) ||
	    copy_out(to + EXTENDED_OFFSET, (const u8 *)c->fpu + EXTENDED_OFFSET, fpu_size - EXTENDED_OFFSET))
		return -EFAULT;
	return copy_out(to + fpu_size, &magic2, sizeof(magic2));
}

static int push_fpu(vaddr_t to, struct user_context *c)
{
	struct fx_area fx;

	fpu_save_current(c);
	memcpy(&fx, c->fpu, sizeof(fx));
	memset(&fx.sw, 0, sizeof(fx.sw));
	if (fpu_has_xsave && push_extended(to, c, &fx))
		return -EFAULT;
	return copy_out(to, &fx, sizeof(fx));
}

// The frame's place; *fpstate is the FPU area's. 0: it would leave the alternate stack.
static vaddr_t place(vaddr_t sp, const struct user_signal *s, vaddr_t *fpstate)
{
	bool confined = user_on_sigstack(&s->stack, sp);

	sp -= RED_ZONE;
	if (s->use_stack && s->stack.size && !user_on_sigstack(&s->stack, sp)) {
		sp = s->stack.sp + s->stack.size;
		confined = true;
	}
	*fpstate = ALIGN_DOWN(sp - fpstate_size(), (vaddr_t)FPU_ALIGN);
	sp = ALIGN_DOWN(*fpstate - sizeof(struct rt_sigframe), (vaddr_t)FRAME_ALIGN) - 8;
	if (confined && !user_within_sigstack(&s->stack, sp))
		return 0;
	return sp;
}

static struct sigcontext describe(const struct trap_frame *f, const struct user_signal *s, vaddr_t fpstate)
{
	return (struct sigcontext){
		.r8 = f->r8, .r9 = f->r9, .r10 = f->r10, .r11 = f->r11, .r12 = f->r12, .r13 = f->r13, .r14 = f->r14,
		.r15 = f->r15, .rdi = f->rdi, .rsi = f->rsi, .rbp = f->rbp, .rbx = f->rbx, .rdx = f->rdx, .rax = f->rax,
		.rcx = f->rcx, .rsp = f->rsp, .rip = f->rip, .rflags = f->rflags, .cs = (u16)f->cs, .ss = (u16)f->ss,
		.error = s->fault.error, .trap = s->fault.trap, .mask = s->mask, .cr2 = s->touched, .fpstate = fpstate,
	};
}

int arch_user_push_signal(struct user_context *c, const struct user_signal *s)
{
	struct trap_frame *f = &c->frame;
	vaddr_t fpstate, at = place(f->rsp, s, &fpstate);
	struct rt_sigframe frame = {
		.restorer = s->restorer,
		.uc.flags = (fpu_has_xsave ? UC_FP_XSTATE : 0) | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS,
		.uc.stack = s->stack, .uc.registers = describe(f, s, fpstate), .uc.mask = s->mask, .info = s->info,
	};

	if (!at || push_fpu(fpstate, c) || copy_out(at, &frame, sizeof(frame)))
		return -EFAULT;
	user_reload(c);
	fpu_reset(c);
	f->rdi = (u64)s->info.signo;
	f->rsi = at + offsetof(struct rt_sigframe, info);
	f->rdx = at + offsetof(struct rt_sigframe, uc);
	f->rax = 0;
	f->rip = s->handler;
	f->rsp = at;
	f->rflags &= ~(u64)(RFLAGS_DF | RFLAGS_RF | RFLAGS_TF);
	return 0;
}

// What XRSTOR would refuse is refused here, so that it never faults: SDM vol. 1, 13.8.1. `features`: what is to be
// loaded; all else is to be in its initial state.
static bool make_valid(struct user_context *c, u64 features)
{
	struct fx_area *fx = c->fpu;
	struct xsave_header *header = (void *)((u8 *)c->fpu + HEADER_OFFSET);

	if ((header->bv & ~fpu_features) || header->compaction || header->must_be_zero)
		return false;
	if (!(features & SSE_AVX))
		fx->mxcsr = MXCSR_INITIAL;
	header->bv &= features;
	memset(header->ignored, 0, sizeof(header->ignored));
	return !(fx->mxcsr & ~fpu_mxcsr_mask);
}

static bool make_valid_legacy(struct user_context *c)
{
	const struct fx_area *fx = c->fpu;

	if (fpu_has_xsave) {
		memset((u8 *)c->fpu + HEADER_OFFSET, 0, fpu_size - HEADER_OFFSET);
		((struct xsave_header *)((u8 *)c->fpu + HEADER_OFFSET))->bv = X87_SSE;
	}
	return !(fx->mxcsr & ~fpu_mxcsr_mask);
}

// Into c->fpu, which no CPU holds. A frame without the magic numbers is one of FXSAVE's.
static bool pop_fpu(struct user_context *c, vaddr_t from)
{
	struct fx_area *fx = c->fpu;
	u32 magic2 = 0;

	if (from % FXSAVE_ALIGN || copy_in(fx, from, sizeof(*fx)))
		return false;
	if (fpu_has_xsave && fx->sw.magic1 == MAGIC1 && copy_in(&magic2, from + fpu_size, sizeof(magic2)))
		return false;
	if (magic2 != MAGIC2)
		return make_valid_legacy(c);
	if (from % FPU_ALIGN || copy_in((u8 *)c->fpu + HEADER_OFFSET, from + HEADER_OFFSET, fpu_size - HEADER_OFFSET))
		return false;
	return make_valid(c, fx->sw.features);
}

// CS and SS stay; of RFLAGS only what a program may change by itself. RIP may be anything: arch_user_run() looks at it.
static void take_over(struct trap_frame *f, const struct sigcontext *r)
{
	f->r8 = r->r8;
	f->r9 = r->r9;
	f->r10 = r->r10;
	f->r11 = r->r11;
	f->r12 = r->r12;
	f->r13 = r->r13;
	f->r14 = r->r14;
	f->r15 = r->r15;
	f->rdi = r->rdi;
	f->rsi = r->rsi;
	f->rbp = r->rbp;
	f->rbx = r->rbx;
	f->rdx = r->rdx;
	f->rax = r->rax;
	f->rcx = r->rcx;
	f->rsp = r->rsp;
	f->rip = r->rip;
	f->rflags = (f->rflags & ~(u64)RFLAGS_PROGRAM) | (r->rflags & RFLAGS_PROGRAM);
}

int arch_user_pop_signal(struct user_context *c, u64 *mask, struct user_sigstack *stack)
{
	struct rt_sigframe frame;
	bool valid = true;

	// The handler's RET has taken the restorer's address.
	if (copy_in(&frame, c->frame.rsp - sizeof(frame.restorer), offsetof(struct rt_sigframe, info)))
		return -EFAULT;
	*mask = frame.uc.mask;
	*stack = frame.uc.stack;
	take_over(&c->frame, &frame.uc.registers);
	user_reload(c);
	if (frame.uc.registers.fpstate)
		valid = pop_fpu(c, frame.uc.registers.fpstate);
	if (!valid || !frame.uc.registers.fpstate)
		fpu_reset(c);
	return valid ? 0 : -EFAULT;
}

s64 arch_user_result(const struct user_context *c) { return (s64)c->frame.rax; }
