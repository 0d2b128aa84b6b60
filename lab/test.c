// SPDX-License-Identifier: MIT
// The test harness: one flat KTAP version 1 plan, each result named "suite.name". Diagnostics come before the result
// that they belong to, and a line before each test says which one runs, so that a hang names its test.
#include "lab/test.h"
#include "kernel/cmdline.h"
#include "kernel/cpumask.h"
#include "kernel/lib.h"
#include "kernel/mode.h"
#include "kernel/panic.h"
#include "kernel/preempt.h"
#include "kernel/rcu/internal.h"
#include "kernel/sched_internal.h"
#include "kernel/time.h"
#include "kernel/xcall.h"
#include "lab/inject.h"
#include "lab/thief.h"
#include "mm/frame/page.h"
#include "mm/policy/policy.h"
#include "mm/table.h"
#include <arch/machine.h>
#include <arch/xen.h>

#define MAX_SHOWN 20	// failures printed per test; the others are counted

static const struct test *running;
static u32 failures;		// of the running test; between two tests: of threads that outlive theirs
static u32 late_failures;	// of threads that have outlived their test: no test counts them
static const char *skipped;	// why, or NULL

static const char *test_name(const struct test *t, char *buf, size_t size)
{
	ksnprintf(buf, size, "%s.%s", t->suite, t->name);
	return buf;
}

void test_fail(const char *file, int line, const char *fmt, ...)
{
	char text[256];
	va_list ap;
	u32 n = fetch_add(&failures, 1);

	if (n >= MAX_SHOWN)
		return;
	va_start(ap, fmt);
	kvsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_error("%s:%d: %s%s", file, line, text, n == MAX_SHOWN - 1 ? " (further failures are only counted)" : "");
}

void test_skip(const char *why) { WRITE_ONCE(skipped, why); }
void test_saw_stale(bool seen, const char *file, int line)
{
	if (seen || test_failed())
		return;
	if (!arch_xen_missing())
		test_skip("the hypervisor has dropped what would have been stale without a flush");
	else
		test_fail(file, line, "without a flush nothing stale was seen: this test cannot fail");
}

u32 test_take_back(void) { return xchg(&failures, 0); }
bool test_failed(void) { return READ_ONCE(failures) != 0; }

// The name's hash, mixed with the run's seed: a test sees the same numbers whichever others run.
u64 test_seed(void)
{
	u64 state = 0xcbf29ce484222325ull;
	char name[128];

	if (running)
		for (const char *c = test_name(running, name, sizeof(name)); *c; c++)
			state = (state ^ (u8)*c) * 0x100000001b3ull;
	state ^= opt_seed;
	return rand_next(&state);
}

static bool have_1g_frame(void)
{
	struct page *p = page_alloc(MAX_ORDER, PAGE_KERNEL, PG_NOFAIL_INJECT);

	if (p)
		page_put(p);
	return p;
}

// NULL: all is there.
static const char *missing(const struct test *t, const char *glob)
{
	if ((t->needs & NEEDS_CPUS2) && nr_cpus < 2)
		return "needs 2 CPUs";
	if ((t->needs & NEEDS_CPUS4) && nr_cpus < 4)
		return "needs 4 CPUs";
	if ((t->needs & NEEDS_CHECK) && !CHECK)
		return "needs a checking build";
	if ((t->needs & NEEDS_SLOW_OK) && !strcmp(glob, "smoke"))
		return "takes seconds";
	if ((t->needs & NEEDS_HW) && !strcmp(arch_firmware(), "host"))
		return "needs hardware: the host build has no TLB";
	if ((t->needs & NEEDS_MEM_1G) && !have_1g_frame())
		return "needs a free 1 GiB frame";
	return NULL;
}

// What no test may leave behind. With interrupts or preemption off, all that follows would be meaningless.
static void check_left_behind(const char *name, u64 warnings_before)
{
	inject_alloc_failure(0);
	if (warn_count() != warnings_before)
		test_fail(__FILE__, __LINE__, "%llu warnings", (unsigned long long)(warn_count() - warnings_before));
	if (!preemptible())
		panic("test %s returned with interrupts or preemption off (count 0x%x)", name,
		      this_cpu_read(preempt_count));
}

// A thread that outlives its test and fails during a later test makes that one fail; the message names the EXPECT.
static void note_late_failures(void)
{
	u32 late = xchg(&failures, 0);

	if (late)
		log_error("%u failures of threads that have outlived their test", late);
	late_failures += late;
}

// Work that earlier tests have left to grace periods and sweeps would go on beside this test, and push the tables that
// it looks at out of the quarantine.
static void let_earlier_ones_end(void)
{
	if (tables_waiting())
		policies_drain();
}

static bool run_one(const struct test *t, unsigned k, unsigned n, const char *glob)
{
	char name[128];
	u64 start, warnings_before = warn_count();
	u32 failed;

	test_name(t, name, sizeof(name));
	note_late_failures();
	running = t;
	skipped = missing(t, glob);
	if (skipped) {
		kprintf("ok %u %s # SKIP %s\n", k, name, skipped);
		return true;
	}
	kprintf("# [%u/%u] %s\n", k, n, name);
	let_earlier_ones_end();
	start = now_ns();
	t->fn();
	check_left_behind(name, warnings_before);
	failed = xchg(&failures, 0);
	if (failed > MAX_SHOWN)
		log_error("%u failures in all", failed);
	kprintf("# %s took %llu ms\n", name, (unsigned long long)((now_ns() - start) / NSEC_PER_MSEC));
	if (failed)
		kprintf("not ok %u %s\n", k, name);
	else
		kprintf("ok %u %s%s%s\n", k, name, skipped ? " # SKIP " : "", skipped ? skipped : "");
	running = NULL;
	return !failed;
}

static bool selected(const struct test *t, const char *glob)
{
	char name[128];

	return glob_match(glob, t->suite) || glob_match(glob, test_name(t, name, sizeof(name)));
}

static bool suite_is_new(const struct test *t)
{
	FOR_EACH_REGISTERED(tests, const struct test, it) {
		if (*it == t)
			break;
		if (!strcmp((*it)->suite, t->suite))
			return false;
	}
	return true;
}

static void print_suites(void)
{
	FOR_EACH_REGISTERED(tests, const struct test, t) {
		if (suite_is_new(*t))
			log_error("  test=%s", (*t)->suite);
	}
}

// For a reader who sees only the end of the log.
static void print_totals(unsigned n, unsigned nr_failed, unsigned nr_skipped, const struct test *const *first_failed)
{
	char name[128];

	for (unsigned i = 0; i < MIN(nr_failed, (unsigned)MAX_SHOWN); i++)
		kprintf("# failed: %s\n", test_name(first_failed[i], name, sizeof(name)));
	if (nr_failed > MAX_SHOWN)
		kprintf("# failed: %u more\n", nr_failed - MAX_SHOWN);
	kprintf("# %u tests: %u passed, %u failed, %u skipped\n", n, n - nr_failed - nr_skipped, nr_failed, nr_skipped);
}

int tests_run(const char *glob)
{
	static const struct test *first_failed[MAX_SHOWN];
	unsigned n = 0, k = 0, nr_failed = 0, nr_skipped = 0;

	FOR_EACH_REGISTERED(tests, const struct test, t)
		n += selected(*t, glob);
	if (!n)
		return -1;
	kprintf("KTAP version 1\n1..%u\n", n);
	log_info("seed=%llu", (unsigned long long)opt_seed);
	FOR_EACH_REGISTERED(tests, const struct test, t) {
		if (!selected(*t, glob))
			continue;
		if (run_one(*t, ++k, n, glob))
			nr_skipped += skipped != NULL;
		else if (nr_failed++ < MAX_SHOWN)
			first_failed[nr_failed - 1] = *t;
	}
	note_late_failures();
	print_totals(n, nr_failed, nr_skipped, first_failed);
	return (int)nr_failed + (late_failures != 0);
}

// ---- Waiting --------------------------------------------------------------------------------------------------------

// All conditions are read during one stretch of idling. (An interrupt ends the stretch and begins another one; if it
// has made a thread ready, need_resched is set before that.)
bool cpu_rests(unsigned cpu, u64 until_ns)
{
	u64 idle = rcu_idle_sample(cpu);

	return rcu_sample_idle(idle) && !tick_is_due(cpu, until_ns) && !READ_ONCE(per_cpu(need_resched, cpu)) &&
	       !READ_ONCE(per_cpu(runq, cpu).kicked) && !xcall_waits(cpu) && rcu_idle_sample(cpu) == idle;
}

u32 test_runs_of(unsigned cpu)
{
	return (u32)(READ_ONCE(per_cpu(ticks, cpu)) + READ_ONCE(per_cpu(spin_looks, cpu)));
}

// A CPU that the thief has preempted spins in its NMI handler: it does not run.
static bool has_run(unsigned cpu, u32 before)
{
	return cpu_rests(cpu, now_ns()) || (test_runs_of(cpu) - before >= 2 && !thief_robs(cpu));
}

static bool all_have_run(const struct test_wait *w)
{
	for_each_cpu_in(cpu, &cpus_online)
		if (cpu != cpu_id() && !has_run(cpu, w->runs[cpu]))	// the waiter's own CPU has
			return false;
	return true;
}

struct test_wait test_wait(u32 rounds)
{
	struct test_wait w = { .rounds = rounds };

	for_each_cpu(cpu)
		w.runs[cpu] = test_runs_of(cpu);
	return w;
}

bool test_wait_on(struct test_wait *w)
{
	if (!w->rounds)
		return false;
	thread_sleep_ns(tick_ns() / 2);
	if (all_have_run(w))
		*w = test_wait(w->rounds - 1);
	return true;
}

bool test_wait_was_vain(void)
{
	for_each_cpu(cpu)
		if (!cpu_rests(cpu, ~0ull))
			log_info("waited in vain; CPU %u:%s%s%s%s%s, %llu ticks so far", cpu, cpu_is_idle(cpu) ? "" : " busy",
				 tick_is_due(cpu, ~0ull) ? " timer" : "", rcu_needs_tick(cpu) ? " callbacks" : "",
				 READ_ONCE(per_cpu(runq, cpu).kicked) ? " kicked" : "", xcall_waits(cpu) ? " called" : "",
				 (unsigned long long)READ_ONCE(per_cpu(ticks, cpu)));
	return false;
}

bool test_hold_on(struct test_wait *w)
{
	if (!w->rounds)
		return false;
	cpu_relax();
	if (all_have_run(w))
		*w = test_wait(w->rounds - 1);
	return true;
}

static int run_tests(void)
{
	int failed = tests_run(opt_test);

	if (failed >= 0)
		return failed ? EXIT_TESTS_FAILED : EXIT_OK;
	log_error("test=%s matches no test; valid are suites, suite.name, and patterns of both:", opt_test);
	print_suites();
	return EXIT_BAD_INPUT;
}
MODE(test, run_tests);
