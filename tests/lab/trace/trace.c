// SPDX-License-Identifier: MIT
// The trace rings and their switch (lab/trace.c): what is recorded, in which order, what nesting and wrapping do to it.
#include "lab/trace.h"
#include "kernel/lib.h"
#include "kernel/preempt.h"
#include "lab/stall.h"
#include "lab/test.h"
#include "mm/frame/slab.h"
#include "tests/lab/thief_help.h"
#include "tests/mm/help.h"
#include <arch/ipi.h>
#include <arch/machine.h>

// Records whose argument carries their own number, so that a mixture of two is seen.
#define MARK 0x7ace000000000000ull
static u64 marked(u64 k) { return MARK | k << 24 | (k * 0x9e3779b9u & 0xffffff); }
static bool is_marked(u64 arg) { return arg >> 48 == MARK >> 48; }
static u64 mark_of(u64 arg) { return arg >> 24 & 0xffffff; }

struct reading {
	struct trace_record *all;
	unsigned n;
};

// This CPU's marked records.
static void reading_take(struct reading *r)
{
	unsigned n;

	r->all = r->all ?: (struct trace_record *)page_to_virt(page_alloc(6, PAGE_KERNEL, PG_NOFAIL_INJECT));
	n = trace_read(cpu_id(), r->all);
	r->n = 0;
	for (unsigned i = 0; i < n; i++)
		if (is_marked(r->all[i].arg))
			r->all[r->n++] = r->all[i];
}
_Static_assert(TRACE_RECORDS * sizeof(struct trace_record) <= PAGE_SIZE << 6, "what trace_read() may return");

static void reading_drop(struct reading *r) { page_put(virt_to_page(r->all)); }

static void expect_whole(const struct reading *r)
{
	for (unsigned i = 0; i < r->n; i++) {
		EXPECT_EQ(r->all[i].arg, marked(mark_of(r->all[i].arg)));
		EXPECT(!i || r->all[i - 1].cycles <= r->all[i].cycles);
	}
}

// Off: no site records, however often it is passed. On again: they do.
TEST(trace, off_records_nothing, 0)
{
	struct reading r = { 0 };
	unsigned n;
	u64 before;

	REQUIRE(trace_start());
	trace(EV_SWEEP, marked(1));
	trace_stop();
	before = trace_written(cpu_id());
	EXPECT(before >= 1);
	for (u64 k = 2; k < 100; k++)
		trace(EV_SWEEP, marked(k));
	mm_settled_frames();		// grace periods, frees, calls
	for_each_cpu(cpu)
		before -= cpu == cpu_id() ? trace_written(cpu) : 0;
	EXPECT_EQ(before, 0);
	reading_take(&r);
	EXPECT_EQ(r.n, 1);
	REQUIRE(trace_start());
	EXPECT(trace_recording());
	trace(EV_SWEEP, marked(7));
	trace_stop();
	EXPECT(!trace_recording());
	reading_take(&r);		// emptied by the start
	EXPECT(r.n == 1 && mark_of(r.all[0].arg) == 7);
	memset(r.all, 0xee, PAGE_SIZE << 6);
	n = trace_read(cpu_id(), r.all);
	EXPECT_EQ(*(u64 *)&r.all[n], 0xeeeeeeeeeeeeeeeeull);	// nothing beyond what it returns
	reading_drop(&r);
}

// The oldest records are overwritten: of more than there is room for the last ones are there, each once, none torn.
TEST(trace, wraps, 0)
{
	const unsigned more = 3 * TRACE_RECORDS + 17;
	struct reading r = { 0 };
	irqflags_t flags;

	REQUIRE(trace_start());
	flags = irq_save();
	for (u64 k = 0; k < more; k++)
		trace(EV_SWEEP, marked(k));
	irq_restore(flags);
	trace_stop();
	reading_take(&r);
	expect_whole(&r);
	// Interrupts since have left some of their own.
	EXPECT(r.n > TRACE_RECORDS / 2 && r.n <= TRACE_RECORDS);
	EXPECT_EQ(mark_of(r.all[r.n - 1].arg), more - 1);
	for (unsigned i = 1; i < r.n; i++)
		EXPECT_EQ(mark_of(r.all[i].arg), mark_of(r.all[i - 1].arg) + 1);
	EXPECT_EQ(trace_dropped(cpu_id()), 0);
	reading_drop(&r);
}

// NMIs that write.
static struct {
	u64 first, n;		// n: how many to write; 0: not asked
	u64 taken;
} from_nmi;

static void write_in_nmi(void)
{
	u64 n = load_acquire(&from_nmi.n);	// pairs with send_nmis()

	if (!n)
		return;
	for (u64 k = 0; k < n; k++)
		trace(EV_SWEEP, marked(from_nmi.first + k));
	store_release(&from_nmi.n, 0ull);	// pairs with send_nmis(), which writes the next
	fetch_add(&from_nmi.taken, 1);
}
NMI_HANDLER(write_in_nmi);

#if CHECK

static void interrupt_writer(struct stall_point *p, void *n)
{
	from_nmi.first = 1;
	WRITE_ONCE(from_nmi.n, *(u64 *)n);
	arch_send_ipi(cpu_id(), IPI_NMI);
	spin_until(!READ_ONCE(from_nmi.n), "the writer in the NMI", -1);
}

// Writes one record, which an NMI interrupts between its mark and its fields; the NMI writes n of them.
static void interrupted_by(u64 n, struct reading *r)
{
	REQUIRE(trace_start());
	preempt_disable();
	stall_point("trace_marked")->action = interrupt_writer;
	stall_point("trace_marked")->arg = &n;
	stall_point("trace_marked")->cpu = (int)cpu_id();
	stall_arm(stall_point("trace_marked"), NULL, 0, 0, 0);
	trace(EV_SWEEP, marked(0));
	EXPECT_EQ(stall_point("trace_marked")->hits, 1);
	stall_release(stall_point("trace_marked"));
	preempt_enable();
	trace_stop();
	reading_take(r);
	expect_whole(r);
}

TEST(trace, nmi_in_the_middle_of_a_record, NEEDS_CHECK)
{
	struct reading r = { 0 };

	interrupted_by(1, &r);
	EXPECT_EQ(r.n, 2);			// both whole, the interrupted one first: its clock was read first
	EXPECT(mark_of(r.all[0].arg) == 0 && mark_of(r.all[1].arg) == 1);
	EXPECT_EQ(trace_dropped(cpu_id()), 0);
	// The NMI fills the ring once round and meets the slot of the interrupted record: that stays, the NMI's is
	// dropped.
	interrupted_by(TRACE_RECORDS, &r);
	EXPECT(r.n && mark_of(r.all[0].arg) == 0);
	EXPECT_EQ(trace_dropped(cpu_id()), 1);
	reading_drop(&r);
}

static int write_mark_1(void *unused)
{
	trace(EV_SWEEP, marked(1));
	return 0;
}

// A writer in preemptible code that has taken the branch and not yet checked whether it still may write: no grace
// period waits for it, so it must write nothing.
TEST(trace, stop_while_a_writer_enters, NEEDS_CHECK | NEEDS_CPUS2)
{
	unsigned cpu = mm_other_cpu(0);
	struct thread *t;
	u64 written;

	REQUIRE(trace_start());
	stall_arm(stall_point("trace_entered"), NULL, marked(1), marked(1) + 1, 0);
	REQUIRE(t = mm_thread("writer", write_mark_1, NULL, cpu));
	stall_wait_parked(stall_point("trace_entered"));
	trace_stop();
	written = trace_written(cpu);
	stall_release(stall_point("trace_entered"));
	mm_join(t);
	EXPECT_EQ(trace_written(cpu), written);
}
#endif

// NMIs that may hit any instruction of a writer: another CPU sends them.
struct storm {
	unsigned cpu;
	u32 stop;
};

static int send_nmis(void *arg)
{
	struct storm *s = arg;

	for (u64 k = 0x100000; !READ_ONCE(s->stop); k++) {
		while (load_acquire(&from_nmi.n) && !READ_ONCE(s->stop))
			cpu_relax();
		if (READ_ONCE(s->stop))
			break;
		from_nmi.first = k;
		store_release(&from_nmi.n, 1ull);
		arch_send_ipi(s->cpu, IPI_NMI);
		thread_yield();
	}
	return 0;
}

TEST(trace, nmi_storm, NEEDS_CPUS2)
{
	struct storm s = { .cpu = cpu_id() };
	u64 end = now_ns() + 100 * NSEC_PER_MSEC, taken = from_nmi.taken;
	struct reading r = { 0 };
	struct thread *t;

	REQUIRE(trace_start());
	REQUIRE(t = mm_thread("storm", send_nmis, &s, mm_other_cpu(0)));
	for (u64 k = 0; now_ns() < end || READ_ONCE(from_nmi.taken) == taken; k++)
		trace(EV_SWEEP, marked(k & 0xfffff));
	WRITE_ONCE(s.stop, 1);
	mm_join(t);
	spin_until(!READ_ONCE(from_nmi.n), "the last NMI", -1);
	trace_stop();
	reading_take(&r);
	expect_whole(&r);
	EXPECT(r.n > 1);
	reading_drop(&r);
}

// The trace is read while a writer writes: some records are missing, none is a mixture of two.
static int write_on(void *arg)
{
	struct storm *s = arg;

	for (u64 k = 0; !READ_ONCE(s->stop); k++)
		trace(EV_SWEEP, marked(k & 0xffffff));
	return 0;
}

// Returns how many of this test's records are whole; all others are missing. (0 if the writer has gone once round
// meanwhile.)
static unsigned read_whole(unsigned cpu, struct trace_record *all)
{
	unsigned n = trace_read(cpu, all), whole = 0;

	for (unsigned k = 0; k < n; k++)
		if (is_marked(all[k].arg))
			whole += EXPECT_EQ(all[k].arg, marked(mark_of(all[k].arg)));
	return whole;
}

TEST(trace, read_while_written, NEEDS_CPUS2)
{
	struct storm s = { .cpu = mm_other_cpu(0) };
	struct trace_record *all = page_to_virt(page_alloc(6, PAGE_KERNEL, PG_NOFAIL_INJECT));
	struct thread *t;

	REQUIRE(trace_start());
	REQUIRE(t = mm_thread("writer", write_on, &s, s.cpu));
	EXPECT(EVENTUALLY(trace_written(s.cpu) > TRACE_RECORDS));
	for (int i = 0; i < 8; i++)
		read_whole(s.cpu, all);
	EXPECT(EVENTUALLY(read_whole(s.cpu, all)));
	WRITE_ONCE(s.stop, 1);
	mm_join(t);
	trace_stop();
	page_put(virt_to_page(all));
}

// The trace is switched on and off while the other CPUs pass the sites all the time, in every context.
TEST(trace, switched_under_load, NEEDS_CPUS2)
{
	struct storm s[8] = { 0 };
	struct thread *t[8];
	unsigned n = MIN(nr_cpus - 1, 8u);
	u64 written[8];

	for (unsigned i = 0; i < n; i++)
		t[i] = mm_thread("writer", write_on, &s[i], mm_other_cpu(i));
	for (int i = 0; i < 4; i++) {
		REQUIRE(trace_start());
		EXPECT(EVENTUALLY(trace_written(mm_other_cpu(0)) > 0));
		trace_stop();
		for (unsigned k = 0; k < n; k++)
			written[k] = trace_written(mm_other_cpu(k));
		WHILE_OTHERS_RUN(2)			// the writers go on trying
			;
		for (unsigned k = 0; k < n; k++)
			EXPECT_EQ(trace_written(mm_other_cpu(k)), written[k]);
	}
	for (unsigned i = 0; i < n; i++)
		WRITE_ONCE(s[i].stop, 1);
	for (unsigned i = 0; i < n; i++)
		mm_join(t[i]);
}

// The switch waits for a preempted CPU, which might be about to execute what is being rewritten.
TEST(trace, switch_waits_for_a_robbed_cpu, NEEDS_CPUS2 | NEEDS_HW)
{
	unsigned cpu = mm_other_cpu(0);
	irqflags_t flags;

	NEEDS_THE_THIEF();
	flags = irq_save();	// a tick here may need a lock that the preempted CPU holds
	thief_rob(cpu, 0);
	thief_wait_robbed(cpu);
	thief_release_in(cpu, 20 * NSEC_PER_MSEC);
	irq_restore(flags);
	REQUIRE(trace_start());
	EXPECT(!thief_robs(cpu));
	trace_stop();
	thief_wait_back(cpu);
}
