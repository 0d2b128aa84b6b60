// SPDX-License-Identifier: MIT
// What a walk's read side is made of, each part measured alone, so that the figure of the walk can be taken apart. The
// parts take turns with the walks.
#include "kernel/preempt.h"
#include "kernel/time.h"
#include "tests/bench/load.h"

#define BATCH 32

static u32 word = 1;
static __noinline u32 callee(u32 x) { barrier(); return x; }

static u32 (*target)(u32) = callee;

static void time_preempt(void)
{
	preempt_disable();
	preempt_enable();
}
static void time_irqs(void)
{
	irqflags_t flags = irq_save();

	irq_restore(flags);
}
static void time_cmpxchg(void) { (void)cmpxchg(&word, 1u, 1u); }
static void time_call(void)
{
	u32 (*fn)(u32) = READ_ONCE(target);

	fn(1);
}

// Always inlined, so that `what` is a constant and costs no call of its own.
static __always_inline void slice(struct bench_case *c, void (*what)(void))
{
	u64 deadline = now_ns() + BENCH_SLICE_NS;

	do {
		u64 t = cycles();

		for (int i = 0; i < BATCH; i++)
			what();
		bench_record_batch(c, cycles() - t, BATCH);
	} while (!bench_full(c) && now_ns() < deadline);
}

static void slice_preempt(struct bench_case *c) { slice(c, time_preempt); }
static void slice_irqs(struct bench_case *c) { slice(c, time_irqs); }
static void slice_cmpxchg(struct bench_case *c) { slice(c, time_cmpxchg); }
static void slice_call(struct bench_case *c) { slice(c, time_call); }

unsigned primitive_cases(struct bench_case *cases, unsigned max)
{
	static const struct bench_case all[] = {
		{ .name = "preempt_off_on", .slice = slice_preempt },
		{ .name = "irqs_off_on", .slice = slice_irqs },
		{ .name = "cmpxchg", .slice = slice_cmpxchg },
		{ .name = "indirect_call", .slice = slice_call },
	};
	unsigned n = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(all) && n < max; i++) {
		cases[n] = all[i];
		n += bench_case_init(&cases[n]);
	}
	return n;
}
