// SPDX-License-Identifier: MIT
// Tell ThreadSanitizer and AddressSanitizer which stack runs; nothing in an ordinary build.
#pragma once
#include <arch/thread.h>

#define SANITIZER_WORDS 2	// at a stack's top, for us: [1] the thread's fiber. Even, as the stack is aligned to 16 bytes

#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>

static inline void sanitizer_new(struct arch_context *c, void *stack)
{
	c->fiber = __tsan_create_fiber(0);
	((void **)((char *)stack + KSTACK_SIZE))[-1] = c->fiber;
}
static inline void sanitizer_forget(void *stack) { __tsan_destroy_fiber(((void **)((char *)stack + KSTACK_SIZE))[-1]); }
// The switch orders what the two threads do: they share this CPU's own data.
static inline void sanitizer_leave(struct arch_context *from, struct arch_context *to)
{
	from->fiber = __tsan_get_current_fiber();
	__tsan_switch_to_fiber(to->fiber, 0);
}
// … but that of the deterministic scheduler to another CPU orders nothing.
__attribute__((no_sanitize("thread"))) static inline void sanitizer_leave_cpu(struct arch_context *from, struct arch_context *to)
{
	from->fiber = __tsan_get_current_fiber();
	__tsan_switch_to_fiber(to->fiber, __tsan_switch_to_fiber_no_sync);
}
static inline void sanitizer_arrive(struct arch_context *at, struct arch_context *from) { }

#else
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>

static inline void sanitizer_new(struct arch_context *c, void *stack)
{
	c->fake_stack = NULL;
	c->bottom = stack;
	c->size = KSTACK_SIZE;
}
// The frames of the thread that ended here have left their marks in the shadow memory.
static inline void sanitizer_forget(void *stack) { __asan_unpoison_memory_region(stack, KSTACK_SIZE); }
static inline void sanitizer_leave(struct arch_context *from, struct arch_context *to)
{
	__sanitizer_start_switch_fiber(&from->fake_stack, to->bottom, to->size);
}
// A CPU's first stack was made by libc: its bounds are learnt when it is left.
static inline void sanitizer_arrive(struct arch_context *at, struct arch_context *from)
{
	__sanitizer_finish_switch_fiber(at->fake_stack, &from->bottom, &from->size);
}
#else
static inline void sanitizer_new(struct arch_context *c, void *stack) { }
static inline void sanitizer_forget(void *stack) { }
static inline void sanitizer_leave(struct arch_context *from, struct arch_context *to) { }
static inline void sanitizer_arrive(struct arch_context *at, struct arch_context *from) { }
#endif
static inline void sanitizer_leave_cpu(struct arch_context *from, struct arch_context *to) { sanitizer_leave(from, to); }
#endif
