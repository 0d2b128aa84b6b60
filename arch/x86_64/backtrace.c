// SPDX-License-Identifier: MIT
// Backtraces by frame pointers. Nothing is read that does not lie in a mapped stack, so this is safe in an NMI and after
// a wild jump. A trap is crossed by its frame, also from an IST stack to the interrupted one.
#include "arch/x86_64/stack.h"
#include "arch/x86_64/traps.h"
#include "kernel/log.h"
#include "kernel/thread.h"
#include <arch/machine.h>

extern char trap_return_address[];
extern char __text_start[], __rodata_start[];
// From tools/ksyms.py, in the second link; absent in the first.
struct ksym {
	u32 offset, name;	// from __text_start, from ksyms_names
};
extern const u32 ksyms_count __attribute__((weak));
extern const struct ksym ksyms_offsets[] __attribute__((weak));
extern const char ksyms_names[] __attribute__((weak));

struct frame {
	struct frame *next;
	uintptr_t return_address;
};
// trap_call in traps.asm: padding and its own return address lie between trap_dispatch()'s frame and the trap's.
#define TRAP_FRAME_BEHIND 32

static bool readable(uintptr_t addr, size_t size)
{
	uintptr_t lo, hi;

	return addr % 8 == 0 && stack_bounds(addr, &lo, &hi) && hi - addr >= size;
}

static bool same_stack_upwards(uintptr_t from, uintptr_t to)
{
	uintptr_t lo, hi;

	return to > from && stack_bounds(from, &lo, &hi) && to < hi;
}

static unsigned walk(uintptr_t rbp, uintptr_t *out, unsigned n, unsigned max)
{
	while (n < max && readable(rbp, sizeof(struct frame))) {
		const struct frame *f = (const struct frame *)rbp;

		if (f->return_address == (uintptr_t)trap_return_address) {
			const struct trap_frame *t = (const struct trap_frame *)(rbp + TRAP_FRAME_BEHIND);

			if (!readable((uintptr_t)t, sizeof(*t)))
				break;
			out[n++] = t->rip + 1;	// print_backtrace() looks up the byte before a return address
			rbp = t->rbp;
			continue;
		}
		if (!f->return_address)
			break;
		out[n++] = f->return_address;
		if (!same_stack_upwards(rbp, (uintptr_t)f->next))
			break;
		rbp = (uintptr_t)f->next;
	}
	return n;
}

unsigned arch_backtrace(uintptr_t *out, unsigned max)
{
	return walk((uintptr_t)__builtin_frame_address(0), out, 0, max);
}

unsigned arch_backtrace_interrupted(uintptr_t *out, unsigned max)
{
	const struct trap_frame *t = trap_current();

	if (!t || !max)
		return 0;
	out[0] = t->rip;
	return trap_from_user(t) ? 1 : walk(t->rbp, out, 1, max);	// RBP is then the program's
}

// As arch_thread_switch() left it: r15, r14, r13, r12, rbx, rbp, the return address. If a CPU is just going on with the
// thread, what is found is old, or nonsense, but lies in its stack.
unsigned arch_backtrace_asleep(const struct thread *t, uintptr_t *out, unsigned max)
{
	const u64 *saved = (const u64 *)t->ctx.rsp;

	if (!max || !readable((uintptr_t)saved, 7 * sizeof(u64)))
		return 0;
	out[0] = saved[6];
	return walk(saved[5], out, 1, max);
}

const char *symbol_name(uintptr_t addr, u64 *offset)
{
	u32 lo = 0, hi = &ksyms_count ? ksyms_count : 0;

	*offset = 0;
	if (!hi || addr < (uintptr_t)__text_start || addr >= (uintptr_t)__rodata_start)
		return "?";
	addr -= (uintptr_t)__text_start;
	while (hi - lo > 1) {	// the last symbol at or below addr lies in [lo, hi)
		u32 mid = (lo + hi) / 2;

		*(ksyms_offsets[mid].offset <= addr ? &lo : &hi) = mid;
	}
	*offset = addr - ksyms_offsets[lo].offset;
	return ksyms_names + ksyms_offsets[lo].name;
}

// A return address may lie behind the end of a function that ended in a call: look up the byte before it.
void print_backtrace(const uintptr_t *pcs, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		u64 offset;
		const char *name = symbol_name(pcs[i] - (i > 0), &offset);

		log_error("  [%2u] %016llx %s+0x%llx", i, (unsigned long long)pcs[i], name,
			  (unsigned long long)(offset + (i > 0)));
	}
}
