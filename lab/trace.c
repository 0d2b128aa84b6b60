// SPDX-License-Identifier: MIT
// The trace rings. Each is written by its own CPU alone, in any context: a thread with preemption off, an interrupt in
// the middle of that, an NMI in the middle of that. So writers nest, the inner one always ends before the outer one goes
// on, and no lock is needed:
//
//	writer                                          reader, any CPU
//	------                                          ---------------
//	now = cycles()                                  a = slot.seq             (acquire)
//	n = next++           (one read-modify-write)    copy the fields
//	slot.seq odd? drop this one                     b = slot.seq             (after the copies)
//	slot.seq = 2n+1      (before the fields)        a == b, even, not 0: whole, the record a/2 - 1
//	the fields
//	slot.seq = 2n+2      (release)
//
// Nested writers take different numbers, so different slots, unless the inner ones come round the whole ring. An inner
// writer that does finds the outer one's slot marked odd and drops its own record. (Between its look and its mark a
// third writer may use the slot: the third has ended before the second goes on, and the second then overwrites a whole
// record by an older one.) So no slot ever has two writers, and the writer of an odd slot has not finished.
//
// The reader's acquire pairs with the writer's release: a reader that sees 2n+2 sees the fields. smp_rmb() pairs with
// smp_wmb(): a reader that has copied a field of a later record sees at least that record's odd mark in b. While
// writers are stopped (trace_stop(), or a panic that has halted the other CPUs anywhere) nothing changes, and a torn
// slot stays odd.
//
// Order of time: a writer reads the clock before it takes its number, so a writer that interrupts it between the two
// has a lower number and a later time. Readers sort by time, then number. The time is that of the CPU's own counter;
// docs/tracing.md says how far those of two CPUs agree.
//
// Stopping: after arch_branch_turn() no CPU enters a hook. A thread that is inside one looks at `recording` with
// preemption off. Either it finds it false, or it has looked before and is an RCU reader, which has left after a grace
// period. There are two grace periods because of the hooks in rcu_exp_quiescent() and in a switch of threads after its
// report: a CPU in one of these has just reported to the first grace period, and is still a reader for the second. (A
// thread that was preempted between the branch and its look at `recording` may look after the next recording has begun.
// It then writes one record, with the time of its look.)
#include "lab/trace.h"
#include "kernel/cpumask.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/mutex.h"
#include "kernel/panic.h"
#include "kernel/rcu/rcu.h"
#include "kernel/time.h"
#include "lab/stall.h"
#include "mm/frame/page.h"

struct slot {
	u64 seq;
	u64 cycles;
	u64 arg;
	u64 event;
};

struct ring {
	u64 next;		// number of the next record. Own CPU
	u64 dropped;
	struct slot *slot;	// TRACE_RECORDS; NULL: not allocated yet. Never freed
};
static DEFINE_PER_CPU(struct ring, ring);
static struct mutex switching = MUTEX_INIT(switching, "trace");
static bool recording;

static const struct {
	const char *name;
	char phase;
} events[] = {
#define X(id, name, phase) [EV_##id] = { name, phase },
	TRACE_EVENTS(X)
#undef X
};
_Static_assert(ARRAY_SIZE(events) == NR_TRACE_EVENTS, "every event has a name");

const char *trace_name(enum trace_event event) { return events[event].name; }
char trace_phase(enum trace_event event) { return events[event].phase; }

// ---- Writing --------------------------------------------------------------------------------------------------------

static void put(struct ring *r, u64 now, u64 event, u64 arg)
{
	u64 n = fetch_add_relaxed(&r->next, 1);
	struct slot *s = &r->slot[n % TRACE_RECORDS];

	if (READ_ONCE(s->seq) & 1) {
		fetch_add_relaxed(&r->dropped, 1);
		return;
	}
	WRITE_ONCE(s->seq, 2 * n + 1);
	smp_wmb();	// the mark, then the fields: pairs with smp_rmb() in read_slot()
	STALL(trace_marked, NULL, 0, 0);	// a slot is marked, its fields are not yet written
	WRITE_ONCE(s->cycles, now);
	WRITE_ONCE(s->arg, arg);
	WRITE_ONCE(s->event, event);
	store_release(&s->seq, 2 * n + 2);
}

void trace_write(u64 event, u64 arg)
{
	u64 now;

	STALL(trace_entered, NULL, arg, 0);	// the branch is taken, and nothing more
	preempt_disable();
	now = cycles();
	if (likely(READ_ONCE(recording)))	// otherwise it has ended since the branch was taken: see the top
		put(this_cpu_ptr(&ring), now, event, arg);
	preempt_enable();
}

// ---- Reading --------------------------------------------------------------------------------------------------------

static bool read_slot(const struct slot *s, struct trace_record *out)
{
	u64 seq = load_acquire(&s->seq);

	out->cycles = READ_ONCE(s->cycles);
	out->arg = READ_ONCE(s->arg);
	out->event = (enum trace_event)READ_ONCE(s->event);
	out->n = seq / 2 - 1;
	smp_rmb();	// the fields, then the second look: pairs with smp_wmb() in put()
	return seq && !(seq & 1) && READ_ONCE(s->seq) == seq;
}

static int by_time(const void *a, const void *b)
{
	const struct trace_record *x = a, *y = b;

	if (x->cycles != y->cycles)
		return x->cycles < y->cycles ? -1 : 1;
	return x->n < y->n ? -1 : x->n > y->n;
}

unsigned trace_read(unsigned cpu, struct trace_record *out)
{
	const struct ring *r = per_cpu_ptr(&ring, cpu);
	struct trace_record e = { .cpu = cpu };
	unsigned got = 0;

	for (unsigned i = 0; r->slot && i < TRACE_RECORDS; i++)
		if (read_slot(&r->slot[i], &e))
			out[got++] = e;
	ksort(out, got, sizeof(*out), by_time);
	return got;
}

u64 trace_written(unsigned cpu) { return READ_ONCE(per_cpu(ring, cpu).next); }
u64 trace_dropped(unsigned cpu) { return READ_ONCE(per_cpu(ring, cpu).dropped); }

void trace_print_last(unsigned cpu, unsigned most)
{
	const struct ring *r = per_cpu_ptr(&ring, cpu);
	u64 end = trace_written(cpu), now = cycles();
	struct trace_record e;

	if (!end)
		return;
	log_error("CPU %u, its last events of %llu:", cpu, (unsigned long long)end);
	for (u64 n = end - MIN(end, (u64)most); n < end; n++) {
		if (!read_slot(&r->slot[n % TRACE_RECORDS], &e) || e.n != n)
			log_error("  (torn)");
		else
			log_error("  %llu us ago: %s %c 0x%llx", (unsigned long long)arch_cycles_to_ns(now - e.cycles) / NSEC_PER_USEC,
				  trace_name(e.event), trace_phase(e.event), (unsigned long long)e.arg);
	}
}

// ---- Switching ------------------------------------------------------------------------------------------------------

#define RING_ORDER 5	// of page_alloc()
_Static_assert(TRACE_RECORDS * sizeof(struct slot) == PAGE_SIZE << RING_ORDER, "the ring's block");

static bool allocate(void)
{
	for_each_cpu(cpu) {
		struct ring *r = per_cpu_ptr(&ring, cpu);
		struct page *p;

		if (r->slot)
			continue;
		p = page_alloc(RING_ORDER, PAGE_KERNEL, PG_NOFAIL_INJECT);
		if (!p)
			return false;
		r->slot = page_to_virt(p);
	}
	return true;
}

static void empty(struct ring *r)
{
	r->next = r->dropped = 0;
	memset(r->slot, 0, TRACE_RECORDS * sizeof(struct slot));
}

bool trace_recording(void) { return READ_ONCE(recording); }

bool trace_start(void)
{
	bool ok = true;

	mutex_lock(&switching);
	if (!recording && (ok = allocate())) {
		for_each_cpu(cpu)
			empty(per_cpu_ptr(&ring, cpu));	// before any CPU takes the branch
		WRITE_ONCE(recording, true);
		arch_branch_turn(true);
	}
	mutex_unlock(&switching);
	return ok;
}

void trace_stop(void)
{
	mutex_lock(&switching);
	if (recording) {
		arch_branch_turn(false);
		WRITE_ONCE(recording, false);
		synchronize_rcu();
		synchronize_rcu();
	}
	mutex_unlock(&switching);
}
