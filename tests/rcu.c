// SPDX-License-Identifier: MIT
// RCU, piece by piece: who is waited for, who is not, callbacks, barrier, idle CPUs, complaints, pressure.
#include <arch/ipi.h>
#include <arch/machine.h>
#include "kernel/counter.h"
#include "kernel/errno.h"
#include "kernel/lib.h"
#include "kernel/rcu_internal.h"
#include "kernel/test.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "mm/slab.h"

static unsigned last_cpu(void) { return nr_cpus - 1; }

// The test's own thread to CPU 0, where the grace-period thread lives, so that the others can be left alone.
static void move_to(unsigned cpu)
{
	struct cpumask m = { 0 };

	cpumask_set(&m, cpu);
	EXPECT_EQ(thread_set_affinity(&m), 0);
}

static void move_anywhere(void)
{
	thread_set_affinity(&cpus_online);
}

static void spin_ns(u64 ns)
{
	for (u64 end = now_ns() + ns; now_ns() < end; )
		cpu_relax();
}

#define WAIT_MS 60000	// long enough for 64 CPUs on two cores that others use too
// Wait, asleep, until cond holds; false after `ms`.
#define EVENTUALLY(cond, ms) ({ \
	u64 _end = now_ns() + (ms) * NSEC_PER_MSEC; \
	while (!(cond) && now_ns() < _end) \
		thread_sleep_ns(NSEC_PER_MSEC); \
	!!(cond); })

// ---- Readers that hold a grace period up -------------------------------------------------------------------------------

enum reader_kind { READ_PREEMPT_OFF, READ_IRQS_OFF, READ_INTERRUPT, READ_NMI, NR_READERS };
static const char *const reader_name[] = { "preemption off", "interrupts off", "in an interrupt", "in an NMI" };

static struct reader {
	enum reader_kind kind;
	u64 ns;			// how long
	u32 inside, done;
	u32 leave;		// ns == 0: until this is set
} reader;
static DEFINE_PER_CPU(u32, nmi_reader_asked);

static void read_section(void *arg)
{
	struct reader *r = arg;
	u64 end = now_ns() + r->ns;

	store_release(&r->inside, 1);
	while (r->ns ? now_ns() < end : !load_acquire(&r->leave))
		cpu_relax();
	store_release(&r->done, 1);
}

static void nmi_reader(void)
{
	if (READ_ONCE(*this_cpu_ptr(&nmi_reader_asked)) && xchg(this_cpu_ptr(&nmi_reader_asked), 0))
		read_section(&reader);
}
NMI_HANDLER(nmi_reader);

static int reader_thread(void *arg)
{
	struct reader *r = arg;
	irqflags_t flags;

	if (r->kind == READ_PREEMPT_OFF) {
		rcu_read_lock();
		read_section(r);
		rcu_read_unlock();
	} else {
		flags = irq_save();
		read_section(r);
		irq_restore(flags);
	}
	return 0;
}

static struct xcall reader_call = { .fn = read_section, .arg = &reader };

// Start one reader of that kind on that CPU; returns once it is inside.
static struct thread *start_reader(enum reader_kind kind, unsigned cpu, u64 ns)
{
	struct thread *t = NULL;

	reader = (struct reader){ .kind = kind, .ns = ns };
	switch (kind) {
	case READ_INTERRUPT:
		EXPECT(xcall_async(cpu, &reader_call));
		break;
	case READ_NMI:
		xchg(per_cpu_ptr(&nmi_reader_asked, cpu), 1);
		arch_send_ipi(cpu, IPI_NMI);
		break;
	default:
		t = thread_create("reader", reader_thread, &reader, cpu, PRIO_NORMAL);
		EXPECT(t);
	}
	spin_until(load_acquire(&reader.inside), "reader to begin", cpu);
	return t;
}

static void end_reader(struct thread *t)
{
	WRITE_ONCE(reader.leave, 1);
	if (t)
		thread_join(t);
	spin_until(load_acquire(&reader.done), "reader to end", last_cpu());
}

static void waits_for_readers(void (*synchronize)(void), u64 held)
{
	move_to(0);
	for (enum reader_kind kind = 0; kind < NR_READERS; kind++) {
		struct thread *t = start_reader(kind, last_cpu(), held);
		u64 start = now_ns();

		synchronize();
		bool over = load_acquire(&reader.done);
		u64 took = now_ns() - start;

		if (!over)
			test_fail(__FILE__, __LINE__, "the grace period overtook a reader with %s", reader_name[kind]);
		log_info("reader with %s: grace period took %llu ms", reader_name[kind],
			 (unsigned long long)(took / NSEC_PER_MSEC));
		end_reader(t);
	}
	move_anywhere();
}

// The reader begins a little before the clock of the wait starts: hence 49.
TEST(rcu, reader_held_50_ticks, NEEDS_CPUS2)
{
	move_to(0);
	u64 start = now_ns(), held = 50 * tick_ns();
	struct thread *t = start_reader(READ_PREEMPT_OFF, last_cpu(), held);
	u64 cookie = rcu_snapshot();

	synchronize_rcu();
	EXPECT(now_ns() - start >= held);
	EXPECT(load_acquire(&reader.done));
	EXPECT(rcu_elapsed(cookie));
	end_reader(t);
	move_anywhere();
}

TEST(rcu, waits_for_readers, NEEDS_CPUS2) { waits_for_readers(synchronize_rcu, 12 * tick_ns()); }
TEST(rcu, expedited_waits_for_readers, NEEDS_CPUS2) { waits_for_readers(synchronize_rcu_expedited, 12 * tick_ns()); }

// On one CPU too: a callback must not overtake a reader that it was queued in, nor one that began just before.
static u32 ran;
static void count_run(struct rcu_head *head) { fetch_add(&ran, 1); }

TEST(rcu, callback_waits_for_own_reader, 0)
{
	struct rcu_head head = { 0 };

	WRITE_ONCE(ran, 0);
	rcu_read_lock();
	call_rcu(&head, count_run);
	spin_ns(5 * tick_ns());
	EXPECT_EQ(READ_ONCE(ran), 0);
	rcu_read_unlock();
	rcu_barrier();
	EXPECT_EQ(READ_ONCE(ran), 1);
}

// ---- Cookies -----------------------------------------------------------------------------------------------------------

TEST(rcu, cookies, 0)
{
	for (int i = 0; i < 10; i++) {
		u64 cookie = rcu_snapshot(), before = rcu_completed();

		EXPECT(cookie == before + 1 || cookie == before + 2);
		synchronize_rcu();
		EXPECT(rcu_elapsed(cookie));
		EXPECT(rcu_completed() > before);
	}
}

// A cookie taken in a reader cannot elapse before the reader ends, however much the others ask.
static int asker(void *arg)
{
	while (!READ_ONCE(*(u32 *)arg))
		synchronize_rcu();
	return 0;
}

TEST(rcu, cookie_of_a_reader, NEEDS_CPUS2)
{
	u32 stop = 0;

	move_to(0);
	struct thread *t = thread_create("asker", asker, &stop, 1, PRIO_NORMAL);

	for (int i = 0; i < 20; i++) {
		rcu_read_lock();
		u64 cookie = rcu_snapshot();

		spin_ns(3 * tick_ns());
		EXPECT(!rcu_elapsed(cookie));
		rcu_read_unlock();
		synchronize_rcu();
		EXPECT(rcu_elapsed(cookie));
	}
	WRITE_ONCE(stop, 1);
	thread_join(t);
	move_anywhere();
}

// ---- Callbacks ---------------------------------------------------------------------------------------------------------

#define PER_CPU 300
struct item {
	struct rcu_head head;
	u64 cookie;
	u32 serial;
	u16 cpu;
};
static u32 next_serial[NR_CPUS];	// the callback of that CPU that must come next
static u32 early, disordered, invoked, no_memory;

static void item_callback(struct rcu_head *head)
{
	struct item *item = container_of(head, struct item, head);

	if (!rcu_elapsed(item->cookie))
		fetch_add(&early, 1);
	// One CPU's callbacks run one after another in one thread: no concurrent access.
	if (READ_ONCE(next_serial[item->cpu]) != item->serial)
		fetch_add(&disordered, 1);
	WRITE_ONCE(next_serial[item->cpu], item->serial + 1);
	fetch_add(&invoked, 1);
	kfree(item);
}

static void queue_item(u32 serial)
{
	struct item *item = kmalloc(sizeof(*item));

	if (!item) {
		fetch_add(&no_memory, 1);
		return;
	}
	*item = (struct item){ .serial = serial, .cpu = (u16)cpu_id() };
	item->cookie = rcu_snapshot();
	call_rcu(&item->head, item_callback);
}

static int queue_many(void *arg)
{
	u64 seed = test_seed() + cpu_id();

	for (u32 i = 0; i < PER_CPU; i++) {
		queue_item(i);
		if (!(rand_next(&seed) % 64))
			thread_sleep_ns(tick_ns() / 2);
	}
	return 0;
}

static void reset_items(void)
{
	memset(next_serial, 0, sizeof(next_serial));
	xchg(&early, 0);
	xchg(&disordered, 0);
	xchg(&invoked, 0);
	xchg(&no_memory, 0);
}

static void expect_items(u32 n)
{
	EXPECT_EQ(READ_ONCE(invoked), n);
	EXPECT_EQ(READ_ONCE(early), 0);
	EXPECT_EQ(READ_ONCE(disordered), 0);
	EXPECT_EQ(READ_ONCE(no_memory), 0);
}

TEST(rcu, callbacks, 0)
{
	reset_items();
	EXPECT_EQ(threads_run_on(&cpus_online, queue_many, NULL), 0);
	rcu_barrier();
	expect_items(nr_cpus * PER_CPU);
}

// Queued by threads that are gone since: the barrier must find the callbacks of CPUs that idle.
static int queue_one(void *arg)
{
	queue_item(0);
	return 0;
}

TEST(rcu, barrier_of_idle_cpus, 0)
{
	for (int round = 0; round < 5; round++) {
		reset_items();
		EXPECT_EQ(threads_run_on(&cpus_online, queue_one, NULL), 0);
		rcu_barrier();
		expect_items(nr_cpus);
	}
}

// Without any barrier or other call: the tick alone sees to it.
TEST(rcu, callbacks_of_idle_cpus_run, 0)
{
	reset_items();
	EXPECT_EQ(threads_run_on(&cpus_online, queue_one, NULL), 0);
	EXPECT(EVENTUALLY(READ_ONCE(invoked) == nr_cpus, WAIT_MS));
	EXPECT(EVENTUALLY(rcu_pending_callbacks() == 0, WAIT_MS));
}

static u32 slow_began, slow_ended;
static void slow_callback(struct rcu_head *head)
{
	WRITE_ONCE(slow_began, 1);
	thread_sleep_ns(10 * tick_ns());
	store_release(&slow_ended, 1);
}

TEST(rcu, barrier_waits_for_running_callback, 0)
{
	struct rcu_head head = { 0 };

	slow_began = slow_ended = 0;
	call_rcu(&head, slow_callback);
	REQUIRE(EVENTUALLY(READ_ONCE(slow_began), WAIT_MS));
	rcu_barrier();
	EXPECT(load_acquire(&slow_ended));
}

static struct rcu_head many[4];
static void call_from_irq(void *arg) { call_rcu(&many[0], count_run); }

TEST(rcu, call_rcu_from_any_context, 0)
{
	static struct xcall call = { .fn = call_from_irq };

	memset(many, 0, sizeof(many));
	WRITE_ONCE(ran, 0);
	EXPECT(xcall_async(last_cpu(), &call));
	irqflags_t flags = irq_save();

	call_rcu(&many[1], count_run);
	irq_restore(flags);
	preempt_disable();
	call_rcu(&many[2], count_run);
	preempt_enable();
	call_rcu(&many[3], count_run);
	EXPECT(EVENTUALLY(READ_ONCE(ran) == 4, WAIT_MS));
}

// More than a batch, in one go.
TEST(rcu, batches, 0)
{
	reset_items();
	move_to(last_cpu());
	for (u32 i = 0; i < 20 * RCU_BATCH + 7; i++)
		queue_item(i);
	EXPECT(rcu_pending_callbacks() > 0);
	rcu_barrier();
	expect_items(20 * RCU_BATCH + 7);
	move_anywhere();
}

TEST(rcu, double_call_is_noticed, NEEDS_CHECK)
{
	struct rcu_head head = { 0 };

	EXPECT(!rcu_head_queued(&head, count_run));
	rcu_read_lock();
	call_rcu(&head, count_run);
	EXPECT(rcu_head_queued(&head, count_run));
	rcu_read_unlock();
	rcu_barrier();
	EXPECT(!rcu_head_queued(&head, count_run));
}

// ---- Many at once, latency, quiet --------------------------------------------------------------------------------------

static int synchronize_some(void *arg)
{
	u64 seed = test_seed() + cpu_id();

	for (int i = nr_cpus > 8 ? 3 : 10; i; i--) {
		u64 cookie = rcu_snapshot();

		switch (rand_next(&seed) % 3) {
		case 0:
			synchronize_rcu();
			EXPECT(rcu_elapsed(cookie));
			break;
		case 1:
			synchronize_rcu_expedited();
			break;
		case 2:
			rcu_barrier();
		}
	}
	return 0;
}

TEST(rcu, many_at_once, 0)
{
	EXPECT_EQ(threads_run_on(&cpus_online, synchronize_some, NULL), 0);
}

static int cmp_u64(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

static int compute(void *arg)
{
	while (!READ_ONCE(*(u32 *)arg))
		for (u32 i = 0; i < 1000; i++)
			barrier();
	return 0;
}

// Where the host takes CPUs away, time proves little. What a grace period may cost is two ticks of the slowest CPU.
static u64 fewest_ticks(u64 *before, unsigned n)
{
	u64 fewest = UINT64_MAX;

	for (unsigned cpu = 0; cpu < n; cpu++) {
		u64 t = READ_ONCE(per_cpu(ticks, cpu));

		fewest = MIN(fewest, t - before[cpu]);
		before[cpu] = t;
	}
	return fewest;
}

#define SAMPLES 21
struct latency {
	u64 ns, ticks;	// medians
};

static struct latency latency(void (*synchronize)(void), unsigned cpus)
{
	u64 ns[SAMPLES], ticks_taken[SAMPLES], before[NR_CPUS] = { 0 };

	for (int i = 0; i < SAMPLES; i++) {
		thread_sleep_ns(1);	// none is in progress when the next begins
		fewest_ticks(before, cpus);
		u64 start = now_ns();

		synchronize();
		ns[i] = now_ns() - start;
		ticks_taken[i] = fewest_ticks(before, cpus);
	}
	ksort(ns, SAMPLES, sizeof(u64), cmp_u64);
	ksort(ticks_taken, SAMPLES, sizeof(u64), cmp_u64);
	return (struct latency){ ns[SAMPLES / 2], ticks_taken[SAMPLES / 2] };
}

static struct latency report_latency(const char *when, unsigned cpus)
{
	struct latency normal = latency(synchronize_rcu, cpus), exp = latency(synchronize_rcu_expedited, cpus);

	log_info("%s: grace period %llu us, expedited %llu us (median); a tick is %llu us", when,
		 (unsigned long long)(normal.ns / 1000), (unsigned long long)(exp.ns / 1000),
		 (unsigned long long)(tick_ns() / 1000));
	EXPECT(normal.ticks <= 2);
	EXPECT(exp.ticks <= 2);
	return normal;
}

TEST(rcu, latency, 0)
{
	struct thread *t[4];
	unsigned n = MIN(nr_cpus, 4u);
	struct latency idle;
	u32 stop = 0;

	move_to(0);
	idle = report_latency("CPUs idle", 1);
	for (int i = 0; i < 5 && idle.ns > 2 * tick_ns(); i++)
		idle = latency(synchronize_rcu, 1);
	EXPECT(idle.ns <= 2 * tick_ns());

	for (unsigned i = 0; i < n; i++)
		t[i] = thread_create("compute", compute, &stop, i, PRIO_LOW);
	report_latency("CPUs computing", n);
	WRITE_ONCE(stop, 1);
	for (unsigned i = 0; i < n; i++)
		thread_join(t[i]);
	move_anywhere();
}

// A CPU on which each tick hits a reader must still report, between two of them.
#define BACK_TO_BACK 100
static u32 sections;
static int back_to_back(void *arg)
{
	for (u32 i = 0; i < BACK_TO_BACK && !READ_ONCE(*(u32 *)arg); i++) {
		rcu_read_lock();
		WRITE_ONCE(sections, i + 1);
		spin_ns(2 * tick_ns());
		rcu_read_unlock();
	}
	return 0;
}

TEST(rcu, back_to_back_readers, NEEDS_CPUS2)
{
	u32 stop = 0;

	move_to(0);
	WRITE_ONCE(sections, 0);
	struct thread *t = thread_create("back to back", back_to_back, &stop, last_cpu(), PRIO_NORMAL);

	spin_until(READ_ONCE(sections), "first reader", last_cpu());
	synchronize_rcu();
	EXPECT(READ_ONCE(sections) <= 5);
	u32 before = READ_ONCE(sections);

	synchronize_rcu_expedited();
	EXPECT(READ_ONCE(sections) <= before + 5);
	WRITE_ONCE(stop, 1);
	thread_join(t);
	move_anywhere();
}

TEST(rcu, goes_quiet, 0)
{
	rcu_barrier();
	REQUIRE(EVENTUALLY(rcu_pending_callbacks() == 0 && !rcu_seq_running(READ_ONCE(rcu.seq)), WAIT_MS));
	u64 before = rcu_completed();

	thread_sleep_ns(25 * tick_ns());
	EXPECT_EQ(rcu_completed(), before);
	for_each_cpu(cpu)
		EXPECT(!rcu_needs_tick(cpu));
}

// ---- Idle CPUs ---------------------------------------------------------------------------------------------------------

struct disturbance {
	u64 switches, interrupts;
};

static struct disturbance disturbance_of(unsigned cpu)
{
	return (struct disturbance){ READ_ONCE(per_cpu(context_switches, cpu)), READ_ONCE(per_cpu(interrupts, cpu)) };
}

// Left alone long enough for its tick to be off?
static bool settled(unsigned cpu)
{
	struct disturbance before = disturbance_of(cpu);

	thread_sleep_ns(20 * tick_ns());
	return rcu_sample_idle(rcu_idle_sample(cpu)) && disturbance_of(cpu).interrupts == before.interrupts;
}

// Over 100 grace periods, of each kind, spread over a second so that "2 a second" can be told from "one each".
TEST(rcu, idle_cpu_undisturbed, NEEDS_CPUS2)
{
	static struct rcu_head heads[10];
	unsigned cpu = last_cpu();

	memset(heads, 0, sizeof(heads));
	move_to(0);
	rcu_barrier();
	REQUIRE(EVENTUALLY(settled(cpu), WAIT_MS));

	struct disturbance before = disturbance_of(cpu);
	u64 start = now_ns(), gp = rcu_completed();

	for (int i = 0; i < 100; i++) {
		if (i % 10 == 0)
			call_rcu(&heads[i / 10], count_run);
		synchronize_rcu();
		synchronize_rcu_expedited();
		thread_sleep_ns(NSEC_PER_SEC / 150);
	}
	rcu_barrier();
	struct disturbance after = disturbance_of(cpu);
	u64 seconds = (now_ns() - start + NSEC_PER_SEC - 1) / NSEC_PER_SEC;

	log_info("%llu grace periods in at most %llu s: %llu interrupts, %llu switches on idle CPU %u",
		 (unsigned long long)(rcu_completed() - gp), (unsigned long long)seconds,
		 (unsigned long long)(after.interrupts - before.interrupts),
		 (unsigned long long)(after.switches - before.switches), cpu);
	EXPECT(rcu_completed() - gp >= 100);
	EXPECT_EQ(after.switches, before.switches);
	EXPECT(after.interrupts - before.interrupts <= 2 * seconds);
	move_anywhere();
}

static u64 sample_inside;
static u32 sampled;
static DEFINE_PER_CPU(u32, nmi_sample_asked);

static void sample_here(void *arg)
{
	WRITE_ONCE(sample_inside, rcu_idle_sample(cpu_id()));
	store_release(&sampled, 1);
}

static void nmi_sample(void)
{
	if (READ_ONCE(*this_cpu_ptr(&nmi_sample_asked)) && xchg(this_cpu_ptr(&nmi_sample_asked), 0))
		sample_here(NULL);
}
NMI_HANDLER(nmi_sample);

// Interrupt and NMI out of idle: the handler runs outside the idle state, which is entered again afterwards.
TEST(rcu, entry_from_idle, NEEDS_CPUS2)
{
	static struct xcall call = { .fn = sample_here };
	unsigned cpu = last_cpu();

	move_to(0);
	rcu_barrier();
	for (int nmi = 0; nmi < 2; nmi++) {
		REQUIRE(EVENTUALLY(settled(cpu), WAIT_MS));
		u64 before = rcu_idle_sample(cpu);

		WRITE_ONCE(sampled, 0);
		if (nmi) {
			xchg(per_cpu_ptr(&nmi_sample_asked, cpu), 1);
			arch_send_ipi(cpu, IPI_NMI);
		} else {
			EXPECT(xcall_async(cpu, &call));
		}
		spin_until(load_acquire(&sampled), "sample", cpu);
		EXPECT(!rcu_sample_idle(READ_ONCE(sample_inside)));
		EXPECT(READ_ONCE(sample_inside) > before);
		EXPECT(EVENTUALLY(rcu_sample_idle(rcu_idle_sample(cpu)), WAIT_MS));
	}
	move_anywhere();
}

static u64 synchronized_at;
static int synchronize_and_tell(void *arg)
{
	synchronize_rcu();
	WRITE_ONCE(synchronized_at, now_ns());
	return 0;
}

// Does the grace period end soon after a reader in an interrupt or NMI out of tickless idle?
static bool ends_after_reader_on_idle_cpu(enum reader_kind kind)
{
	u64 held = 10 * tick_ns(), slept = held + NSEC_PER_SEC / 3;

	if (!EVENTUALLY(settled(last_cpu()), WAIT_MS))
		return false;
	start_reader(kind, last_cpu(), held);
	u64 start = now_ns();
	struct thread *t = thread_create("sync", synchronize_and_tell, NULL, 0, PRIO_NORMAL);

	thread_sleep_ns(slept);		// meanwhile nothing of ours makes CPU 0 tick; at its end something does
	EXPECT(load_acquire(&reader.done));
	thread_join(t);
	return READ_ONCE(synchronized_at) < start + slept;
}

// Nothing on that CPU reports the reader's end, and the CPU is not woken. The grace-period thread has to look again by
// itself, so its own CPU must keep its tick although it idles.
TEST(rcu, reader_on_idle_cpu, NEEDS_CPUS2)
{
	move_to(0);
	rcu_barrier();
	for (enum reader_kind kind = READ_INTERRUPT; kind <= READ_NMI; kind++) {
		bool soon = false;

		for (int i = 0; i < 4 && !soon; i++)	// a busy host may be late for once
			soon = ends_after_reader_on_idle_cpu(kind);
		EXPECT(soon);
	}
	move_anywhere();
}

// ---- Complaints and pressure -------------------------------------------------------------------------------------------

static int synchronize_once(void *arg)
{
	void (*synchronize)(void) = arg;

	synchronize();
	return 0;
}

// The CPU that reads with interrupts off can print its backtrace only by NMI.
TEST(rcu, stall_is_reported, NEEDS_CPUS2)
{
	move_to(0);
	for (int i = 0; i < 3; i++) {
		u64 stalls = rcu_stalls(), backtraces = READ_ONCE(rcu.backtraces);
		struct thread *r = start_reader(i == 1 ? READ_IRQS_OFF : READ_PREEMPT_OFF, last_cpu(), 0);

		WRITE_ONCE(rcu.stall_cpu, NR_CPUS);
		rcu_set_stall_ns(10 * tick_ns());
		struct thread *s = thread_create("sync", synchronize_once, i == 2 ? synchronize_rcu_expedited : synchronize_rcu, 0,
						 PRIO_NORMAL);

		EXPECT(EVENTUALLY(rcu_stalls() > stalls && READ_ONCE(rcu.backtraces) > backtraces, WAIT_MS));
		EXPECT_EQ(READ_ONCE(rcu.stall_cpu), last_cpu());
		EXPECT(!load_acquire(&reader.done));
		rcu_set_stall_ns(10 * NSEC_PER_SEC);
		end_reader(r);
		thread_join(s);
	}
	move_anywhere();
}

TEST(rcu, pressure_kicks, NEEDS_CPUS2)
{
	static struct rcu_head heads[20];

	move_to(0);
	memset(heads, 0, sizeof(heads));
	rcu_barrier();
	for (int pressed = 0; pressed < 2; pressed++) {
		u64 kicks = READ_ONCE(rcu.kicks);
		struct thread *r = start_reader(READ_PREEMPT_OFF, last_cpu(), 0);

		rcu_set_pressure(pressed ? 10 : 10000);
		for (unsigned i = 0; i < ARRAY_SIZE(heads); i++)
			call_rcu(&heads[i], count_run);
		if (pressed)
			EXPECT(EVENTUALLY(READ_ONCE(rcu.kicks) > kicks, WAIT_MS));
		else
			thread_sleep_ns(5 * tick_ns());
		EXPECT(pressed || READ_ONCE(rcu.kicks) == kicks);
		end_reader(r);
		rcu_barrier();
	}
	rcu_set_pressure(10000);
	synchronize_rcu();
	EXPECT_EQ(READ_ONCE(rcu.pressed), 0);
	move_anywhere();
}
