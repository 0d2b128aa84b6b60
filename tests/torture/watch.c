// SPDX-License-Identifier: MIT
// Once a second prints a line of progress and looks at every thread of the torture: has it completed an operation?
//
// The clock alone does not decide: a host with fewer cores than this machine has CPUs preempts them for long, and that
// is no hang. So time is counted in epochs: an epoch ends when every CPU has run for a second. A thread that has
// completed nothing in `watchdog=` epochs hangs, whether it spins, or sleeps and is not woken. The ticks of a busy CPU
// show how long it has run, because a missed tick is never delivered later. A CPU that idles needs no tick, and one
// that keeps interrupts off takes none: such a CPU gets an NMI, and if it has answered that by the next look it counts
// as having run all the time between. A CPU that answers nothing at all for a minute is reported, too: it hangs in an
// NMI, or the host does not run it any more.
//
// There are two watchers on two CPUs, and either is enough, because it may be a watcher's own CPU that hangs with
// interrupts off.
#include "kernel/cmdline.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/panic.h"
#include "kernel/rcu/rcu.h"
#include "kernel/time.h"
#include "lab/counter.h"
#include "tests/mm/help.h"
#include "tests/torture/torture.h"
#include <arch/ipi.h>
#include <arch/machine.h>

#define LOOK_NS NSEC_PER_SEC
#define GLANCE_NS (LOOK_NS / 16)	// how often time is read; a gap counts as 2 at most: the host may have paused us
#define EPOCH_NS NSEC_PER_SEC
#define MUTE_NS (60 * NSEC_PER_SEC)
#define MAX_BEATS (NR_CPUS + MORE_WORKERS + TROUBLEMAKERS + 1)
#define MAX_DEPTH 24
#define WATCHERS 2

struct cpu_look {
	u64 ticks;
	u64 ran_ns;		// in this epoch
	u64 mute_ns;
	bool asked;
	u32 answered;
};
static DEFINE_PER_CPU(struct cpu_look, look);

static struct {
	u32 busy;		// held by the thread that looks, or changes the list
	u32 stop;
	u64 started, last, epoch;
	struct seen seen;	// since `last`
	struct beat *beat[MAX_BEATS];
	unsigned n;
	struct thread *watcher[WATCHERS];
} watch;

static u64 opt_watchdog = 30;

static const char *set_watchdog(const char *value)
{
	u64 v;

	if (!parse_u64(value, &v) || !v || v > 3600)
		return "not a number from 1 to 3600";
	opt_watchdog = v;
	return NULL;
}
CMDLINE_KEY(watchdog, "1 to 3600 (mode=torture: a thread that completes nothing while every CPU runs for so many seconds hangs; "
	    "default 30)", set_watchdog);

// ---- Hang on purpose ------------------------------------------------------------------------------------------------

static enum { HANG_NOT, HANG_LOCK, HANG_IRQS_OFF, HANG_ASLEEP } opt_hang;

static const char *set_hang(const char *value)
{
	static const char *const names[] = { "no", "lock", "irqs-off", "asleep" };

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strcmp(value, names[i])) {
			opt_hang = i;
			return NULL;
		}
	}
	return "unknown";
}
CMDLINE_KEY(hang, "no|lock|irqs-off|asleep (mode=torture: in which way worker 1 hangs on purpose, to test the watchdog; default no)",
	    set_hang);

void hang_now(struct worker *w)
{
	static struct spinlock lock = SPINLOCK_INIT("torture hang", RANK_TEST);
	struct completion never;

	if (!opt_hang || w->index != 1 || w->beat.done < 100)
		return;
	beat(&w->beat, "a hang on purpose");
	switch (opt_hang) {
	case HANG_LOCK:
		spin_lock(&lock);
		for (;;)
			cpu_relax();
	case HANG_IRQS_OFF:
		spin_lock_irqsave(&lock);
		for (;;)
			cpu_relax();
	default:
		completion_init(&never);
		wait_for_completion(&never);
	}
}

// ---- How long has each CPU run? -------------------------------------------------------------------------------------

static void answer_nmi(void) { WRITE_ONCE(this_cpu_ptr(&look)->answered, 1u); }
NMI_HANDLER(answer_nmi);

// Returns for how many of the `passed` ns the CPU has run.
static u64 has_run(unsigned cpu, u64 passed)
{
	struct cpu_look *l = per_cpu_ptr(&look, cpu);
	u64 now = READ_ONCE(per_cpu(ticks, cpu)), ticked = now - l->ticks;

	l->ticks = now;
	if (cpu == cpu_id())
		return passed;
	if (ticked && !cpu_is_idle(cpu)) {
		l->asked = false;
		return MIN(ticked * tick_ns(), passed);
	}
	if (l->asked && !READ_ONCE(l->answered))
		return 0;
	if (!l->asked)
		passed = 0;
	l->asked = true;
	WRITE_ONCE(l->answered, 0u);
	arch_send_ipi(cpu, IPI_NMI);
	return passed;
}

static void look_at_cpus(u64 passed)
{
	bool all = true;

	for_each_cpu(cpu) {
		struct cpu_look *l = per_cpu_ptr(&look, cpu);
		u64 ran = has_run(cpu, passed);

		l->ran_ns += ran;
		l->mute_ns = ran ? 0 : l->mute_ns + passed;
		all &= l->ran_ns >= EPOCH_NS;
		if (l->mute_ns > MUTE_NS)
			panic("torture: CPU %u has taken neither a tick nor an NMI for %llu s", cpu,
			      (unsigned long long)(l->mute_ns / NSEC_PER_SEC));
	}
	if (!all)
		return;
	watch.epoch++;
	for_each_cpu(cpu)
		per_cpu(look, cpu).ran_ns = MIN(per_cpu(look, cpu).ran_ns - EPOCH_NS, EPOCH_NS);
}

// ---- Who hangs? -----------------------------------------------------------------------------------------------------

static bool hangs(struct beat *b)
{
	u64 done = READ_ONCE(b->done);

	if (done != b->seen) {
		b->seen = done;
		b->epoch = watch.epoch;
	}
	return watch.epoch - b->epoch >= opt_watchdog && !load_acquire(&b->over);
}

static void print_hung(const struct beat *b)
{
	const struct thread *t = b->thread;
	uintptr_t pcs[MAX_DEPTH];

	log_error("torture: thread %s hangs in %s, on CPU %u, %s, %llu operations done", t->name, READ_ONCE(b->doing),
		  READ_ONCE(t->cpu), READ_ONCE(t->on_cpu) ? "running" : "not running", (unsigned long long)b->seen);
	if (!READ_ONCE(t->on_cpu))
		print_backtrace(pcs, arch_backtrace_asleep(t, pcs, MAX_DEPTH));
}

static void look_at_threads(void)
{
	unsigned hung = 0;
	const struct beat *first = NULL;

	for (unsigned i = 0; i < watch.n; i++) {
		if (!hangs(watch.beat[i]))
			continue;
		if (!hung++)
			first = watch.beat[i];
		print_hung(watch.beat[i]);
	}
	if (first)
		panic("torture: hang: %u of %u threads have completed nothing for %llu s of every CPU's time; the first is %s on "
		      "CPU %u, in %s", hung, watch.n, (unsigned long long)opt_watchdog, first->thread->name,
		      READ_ONCE(first->thread->cpu), READ_ONCE(first->doing));
}

void watch_print(void)
{
	struct counters c;

	torture_counters(&c);
	kprintf("# torture %llu s: %llu operations, %llu walks (%llu fast, %llu slow), tables freed %llu/%llu/%llu, "
		"%llu grace periods, %llu switches, %llu failed allocations, %llu thefts, %llu violations\n",
		(unsigned long long)((now_ns() - watch.started) / NSEC_PER_SEC), (unsigned long long)torture_operations(),
		(unsigned long long)c.walks, (unsigned long long)c.walks_fast, (unsigned long long)c.walks_slow,
		(unsigned long long)c.frees_l1, (unsigned long long)c.frees_l2, (unsigned long long)c.frees_l3,
		(unsigned long long)rcu_completed(), (unsigned long long)torture_switches(),
		(unsigned long long)torture_injected(), (unsigned long long)torture_thefts(),
		(unsigned long long)torture_violations());
}

// ---- The watchers ---------------------------------------------------------------------------------------------------

static bool take_watch(void) { return !READ_ONCE(watch.busy) && cmpxchg(&watch.busy, 0u, 1u); }
static void give_watch(void) { store_release(&watch.busy, 0u); }	// pairs with the next one's cmpxchg

static int watcher(void *unused)
{
	while (!READ_ONCE(watch.stop)) {
		u64 now;

		thread_sleep_ns(GLANCE_NS);
		if (!take_watch())
			continue;
		seen_look(&watch.seen, 2 * GLANCE_NS);
		now = watch.seen.looked;
		if (now - watch.last >= LOOK_NS) {
			look_at_cpus(watch.seen.ns);
			look_at_threads();
			watch_print();
			watch.last = now;
			watch.seen.ns = 0;
		}
		give_watch();
	}
	return 0;
}

static void add(struct beat *b)
{
	b->epoch = watch.epoch;
	watch.beat[watch.n++] = b;
}

void watch_add(struct beat *b)
{
	while (!take_watch())
		thread_yield();
	add(b);
	give_watch();
}

void watch_clear(void)
{
	while (!take_watch())
		thread_yield();
	watch.n = 1;		// the main thread stays
	give_watch();
}

void watch_start(struct beat *main)
{
	watch.seen = SEEN_FROM_NOW;
	watch.started = watch.last = watch.seen.looked;
	for_each_cpu(cpu)
		per_cpu(look, cpu).ticks = READ_ONCE(per_cpu(ticks, cpu));
	add(main);
	for (unsigned i = 0; i < WATCHERS; i++)
		watch.watcher[i] = thread_create("watcher", watcher, NULL, i ? nr_cpus - 1 : 0, PRIO_HIGH);
}

void watch_stop(void)
{
	WRITE_ONCE(watch.stop, 1);
	for (unsigned i = 0; i < WATCHERS; i++)
		if (watch.watcher[i])
			thread_join(watch.watcher[i]);
}
