// SPDX-License-Identifier: MIT
// RCU in the manner of rcutorture. Updaters replace an object and let the old one age by one grace period after
// another; readers of all kinds on all CPUs look at an object, dawdle, and look at its age again:
//
//	         unlink   grace period        …                10: reused
//	age 0 ──────────▶ 1 ──────────▶ 2 ──▶ 3 ──▶ … ──▶ 9 ──────────▶ 0
//	a reader may see  0, 1      │ never
//
// A reader that sees age 2 or more was overtaken by a whole grace period.
#include <arch/ipi.h>
#include <arch/machine.h>
#include "kernel/cmdline.h"
#include "kernel/lib.h"
#include "kernel/rcu/internal.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "lab/test.h"

#define AGE_REUSE 10
#define POOL 40		// objects per updater

struct object {
	struct rcu_head head;
	u64 cookie;
	u32 age;
	u32 free;
	struct stream *stream;
	struct object *next;	// the updater's list of ageing objects
};

// Two expedite, so that one often comes while the other's grace period is under way.
enum { BY_CALLBACK, BY_SYNCHRONIZE, BY_EXPEDITED, BY_EXPEDITED_2, BY_NOTHING, NR_STREAMS };
static const char *const stream_name[] = { "call_rcu", "synchronize_rcu", "expedited", "expedited", "no grace period" };
enum { IN_THREAD, IN_IRQS_OFF, IN_INTERRUPT, IN_NMI, NR_KINDS };

// One updater's world.
static struct stream {
	struct object *newest;
	struct object pool[POOL];
	u64 updates, callbacks_queued, callbacks_run, early;
	u64 seen[AGE_REUSE + 1];	// what readers saw at the end
} streams[NR_STREAMS];

static struct {
	u32 stop;
	u32 active;		// bit per stream that is updated
	u64 reads[NR_KINDS];
} torture;

struct cpu_reader {
	struct xcall call;
	u64 seed;
	u32 nmi_asked;
};
static DEFINE_PER_CPU(struct cpu_reader, cpu_reader);

static struct stream *pick_stream(u64 random)
{
	u32 active = torture.active;

	for (unsigned skip = random % (unsigned)__builtin_popcount(active); skip; skip--)
		active &= active - 1;
	return &streams[__builtin_ctz(active)];
}

static void dawdle(u64 random)
{
	// Mostly short, some several ticks long, so that they span grace periods of every kind.
	u64 ns = random % 256 == 0 ? 3 * tick_ns() : random % 16 == 0 ? 300 * NSEC_PER_USEC : random % 4 ? 2000 : 0;

	for (u64 end = now_ns() + ns; ns && now_ns() < end; )
		cpu_relax();
}

// The caller is a reader.
static void read_once(u64 random, int kind)
{
	struct stream *s = pick_stream(random >> 32);
	struct object *o = load_acquire(&s->newest);

	if (!o)
		return;
	dawdle(random);
	fetch_add(&s->seen[MIN(READ_ONCE(o->age), (u32)AGE_REUSE)], 1);
	fetch_add(&torture.reads[kind], 1);
}

static void read_in_interrupt(void *arg)
{
	struct cpu_reader *r = this_cpu_ptr(&cpu_reader);

	read_once(rand_next(&r->seed), IN_INTERRUPT);
}

static void read_in_nmi(void)
{
	struct cpu_reader *r = this_cpu_ptr(&cpu_reader);
	u64 state;

	if (!READ_ONCE(r->nmi_asked) || !xchg(&r->nmi_asked, 0))
		return;
	state = cycles();
	read_once(rand_next(&state), IN_NMI);
}
NMI_HANDLER(read_in_nmi);

static void poke_another_cpu(u64 random)
{
	unsigned cpu = (random >> 16) % nr_cpus;
	struct cpu_reader *r = per_cpu_ptr(&cpu_reader, cpu);

	if (random & 1) {
		xcall_async(cpu, &r->call);
	} else {
		WRITE_ONCE(r->nmi_asked, 1);
		arch_send_ipi(cpu, IPI_NMI);
	}
}

static int reader_thread(void *arg)
{
	u64 seed = test_seed() + cpu_id();

	while (!READ_ONCE(torture.stop)) {
		u64 random = rand_next(&seed), what = rand_next(&seed);

		if (what % 64 == 0) {
			thread_sleep_ns(what >> 32 & 1 ? tick_ns() : 5 * tick_ns());	// let this CPU idle
		} else if (what % 16 == 1) {
			poke_another_cpu(random);
		} else if (what % 4 == 2) {
			irqflags_t flags = irq_save();

			read_once(random, IN_IRQS_OFF);
			irq_restore(flags);
		} else {
			rcu_read_lock();
			read_once(random, IN_THREAD);
			rcu_read_unlock();
		}
	}
	return 0;
}

// ---- Updaters -------------------------------------------------------------------------------------------------------

static bool grow_older(struct object *o)	// true: old enough to be reused
{
	if (fetch_add(&o->age, 1) + 1 < AGE_REUSE)
		return false;
	store_release(&o->free, 1);
	return true;
}

static void age_callback(struct rcu_head *head);

static void queue_ageing(struct object *o)
{
	o->cookie = rcu_snapshot();
	fetch_add(&o->stream->callbacks_queued, 1);
	call_rcu(&o->head, age_callback);
}

static void age_callback(struct rcu_head *head)
{
	struct object *o = container_of(head, struct object, head);

	fetch_add(&o->stream->callbacks_run, 1);
	if (!rcu_elapsed(o->cookie))
		fetch_add(&o->stream->early, 1);
	if (!grow_older(o))
		queue_ageing(o);
}

// Publishes a fresh object. Returns the one that it replaces, now of age 1, or NULL.
static struct object *replace(struct stream *s)
{
	for (int i = 0; i < POOL; i++) {
		struct object *o = &s->pool[i], *old;

		if (!load_acquire(&o->free))
			continue;
		WRITE_ONCE(o->free, 0);
		WRITE_ONCE(o->age, 0);
		old = xchg(&s->newest, o);
		fetch_add(&s->updates, 1);
		if (old)
			fetch_add(&old->age, 1);
		return old;
	}
	return NULL;
}

static void age_list(struct object **list)
{
	for (struct object **at = list, *o; (o = *at); ) {
		if (grow_older(o))
			*at = o->next;
		else
			at = &o->next;
	}
}

static int updater_thread(void *arg)
{
	struct stream *s = arg;
	u64 seed = test_seed() ^ (u64)(s - streams);
	struct object *ageing = NULL;

	while (!READ_ONCE(torture.stop)) {
		struct object *old = replace(s);

		switch (s - streams) {
		case BY_CALLBACK:
			if (old)
				queue_ageing(old);
			if (!old || rand_next(&seed) % 8 == 0)
				thread_sleep_ns(NSEC_PER_MSEC);
			break;
		default:
			if (old) {
				old->next = ageing;
				ageing = old;
			}
			if (s - streams == BY_SYNCHRONIZE)
				synchronize_rcu();
			else if (s - streams != BY_NOTHING)
				synchronize_rcu_expedited();
			age_list(&ageing);
			if (rand_next(&seed) % 8 == 0)
				thread_sleep_ns(NSEC_PER_MSEC);
		}
	}
	return 0;
}

static void reset(u32 active)
{
	memset(&torture, 0, sizeof(torture));
	memset(streams, 0, sizeof(streams));
	torture.active = active;
	for (int i = 0; i < NR_STREAMS; i++) {
		for (int k = 0; k < POOL; k++) {
			streams[i].pool[k].stream = &streams[i];
			streams[i].pool[k].free = 1;
		}
	}
	for_each_cpu(cpu) {
		struct cpu_reader *r = per_cpu_ptr(&cpu_reader, cpu);

		r->call.fn = read_in_interrupt;
		r->seed = test_seed() + cpu;
	}
}

static u64 overtaken(const struct stream *s)
{
	u64 n = 0;

	for (int age = 2; age <= AGE_REUSE; age++)
		n += READ_ONCE(s->seen[age]);
	return n;
}

static bool all_have_acted(u32 active)
{
	for (int i = 0; i < NR_STREAMS; i++)
		if (active >> i & 1 && !READ_ONCE(streams[i].updates))
			return false;
	for (int kind = 0; kind < NR_KINDS; kind++)
		if (!READ_ONCE(torture.reads[kind]) && (kind != IN_NMI || nr_cpus > 1))
			return false;
	return true;
}

// Readers on all CPUs and one updater per active stream, for so long and until each has done some of its work; or, with
// `until`, until a reader of that stream was overtaken.
static void run(u32 active, u64 ns, const struct stream *until)
{
	struct thread *readers[NR_CPUS], *updaters[NR_STREAMS];

	reset(active);
	for (int i = 0; i < NR_STREAMS; i++) {
		updaters[i] = NULL;
		if (active >> i & 1)
			updaters[i] = thread_create("updater", updater_thread, &streams[i], CPU_ANY, PRIO_NORMAL);
	}
	for_each_cpu(cpu)
		readers[cpu] = thread_create("reader", reader_thread, NULL, cpu, PRIO_NORMAL);
	thread_sleep_ns(ns);
	EXPECT(EVENTUALLY(until ? overtaken(until) : all_have_acted(active)));
	WRITE_ONCE(torture.stop, 1);
	for_each_cpu(cpu) {
		EXPECT(readers[cpu]);
		if (readers[cpu])
			thread_join(readers[cpu]);
	}
	for (int i = 0; i < NR_STREAMS; i++)
		if (updaters[i])
			thread_join(updaters[i]);
	for (int i = 0; i <= AGE_REUSE; i++)	// a callback that runs may queue its object once more
		rcu_barrier();
	for_each_cpu(cpu)			// nothing of ours may be under way to a CPU when the next test begins
		spin_until(!READ_ONCE(per_cpu(cpu_reader, cpu).call.busy), "reader's call", cpu);
}

static void report(const struct stream *s)
{
	log_info("%-16s %llu updates, ages seen: %llu %llu, then %llu; callbacks %llu", stream_name[s - streams],
		 (unsigned long long)s->updates, (unsigned long long)s->seen[0], (unsigned long long)s->seen[1],
		 (unsigned long long)overtaken(s), (unsigned long long)s->callbacks_run);
}

TEST(rcu_torture, no_reader_is_overtaken, 0)
{
	u64 gp, ns = opt_seconds ? opt_seconds * NSEC_PER_SEC : 3 * NSEC_PER_SEC / 2;

	gp = rcu_completed();
	run(1 << BY_CALLBACK | 1 << BY_SYNCHRONIZE | 1 << BY_EXPEDITED | 1 << BY_EXPEDITED_2, ns, NULL);
	log_info("%llu grace periods; reads: %llu preemption off, %llu IRQs off, %llu in interrupts, %llu in NMIs",
		 (unsigned long long)(rcu_completed() - gp), (unsigned long long)torture.reads[IN_THREAD],
		 (unsigned long long)torture.reads[IN_IRQS_OFF], (unsigned long long)torture.reads[IN_INTERRUPT],
		 (unsigned long long)torture.reads[IN_NMI]);
	for (int i = 0; i < BY_NOTHING; i++) {
		report(&streams[i]);
		EXPECT_EQ(overtaken(&streams[i]), 0);
		EXPECT(streams[i].updates > 0);
		EXPECT_EQ(streams[i].early, 0);
		EXPECT_EQ(streams[i].callbacks_run, streams[i].callbacks_queued);
	}
	EXPECT(rcu_completed() - gp > 0);
}

// The control: an updater that waits for nothing must be caught, otherwise the test above proves nothing. (On one CPU
// it never runs inside a reader.)
TEST(rcu_torture, control_is_caught, NEEDS_CPUS2)
{
	run(1 << BY_NOTHING, 0, &streams[BY_NOTHING]);
	report(&streams[BY_NOTHING]);
	EXPECT(overtaken(&streams[BY_NOTHING]) > 0);
}
