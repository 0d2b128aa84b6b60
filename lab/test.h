// SPDX-License-Identifier: MIT
// In-kernel tests, reported as KTAP version 1. A test returns nothing: it fails by EXPECT, and is skipped by SKIP.
#pragma once
#include "kernel/cpumask.h"
#include "kernel/log.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "kernel/types.h"

struct test {
	const char *suite, *name;
	u32 needs;
	void (*fn)(void);
};
// What a test needs; otherwise it is skipped with the reason.
enum {
	NEEDS_CPUS2 = 1 << 0,	// at least two CPUs
	NEEDS_CPUS4 = 1 << 1,
	NEEDS_CHECK = 1 << 2,	// a checking build
	NEEDS_MEM_1G = 1 << 3,	// a free 1 GiB frame (RAM of 3 GiB or so)
	NEEDS_SLOW_OK = 1 << 4,	// takes seconds; left out where test= names "smoke" only
	NEEDS_HW = 1 << 5,	// a processor's TLB: the host build has none
};
// TEST(suite, name, needs) { … }
#define TEST(s, n, needs_) \
	static void test_##s##_##n(void); \
	static const struct test t_##s##_##n = { #s, #n, (needs_), test_##s##_##n }; \
	REGISTER(tests, t_##s##_##n); \
	static void test_##s##_##n(void)

// Any thread. After its test's end the run fails all the same.
void test_fail(const char *file, int line, const char *fmt, ...) __printf(3, 4);
void test_skip(const char *why);
u32 test_take_back(void);	// failures of the running test so far, which count no more: for tests that test failing
bool test_failed(void);		// has the running test failed already?
// On failure the test goes on.
#define EXPECT_SAYING(c, text) ({ \
	bool _ok = !!(c); \
	if (!_ok) \
		test_fail(__FILE__, __LINE__, "%s", text); \
	_ok; })
#define EXPECT(c) EXPECT_SAYING(c, #c)
#define EXPECT_EQ(a, b) ({ \
	s64 _a = (s64)(a), _b = (s64)(b); \
	if (_a != _b) \
		test_fail(__FILE__, __LINE__, "%s == %s: %lld vs %lld", #a, #b, (long long)_a, (long long)_b); \
	_a == _b; })
// The control of a test that must see no stale translation: with the flush taken out it must see one. Under Xen as it can
// be had everywhere (docs/xen.md) each switch of vCPUs drops all translations, so a control in vain is a skip there. It
// is a failure elsewhere.
void test_saw_stale(bool seen, const char *file, int line);
#define EXPECT_STALE(c) test_saw_stale(!!(c), __FILE__, __LINE__)
// Return from the enclosing void function on failure.
#define REQUIRE(c) do { if (!EXPECT_SAYING(c, #c)) return; } while (0)
#define SKIP(why) do { test_skip(why); return; } while (0)

// Run all tests whose "suite.name" or "suite" matches the glob list; how many failed, and one more if anything has failed
// between them; -1 when none matched.
int tests_run(const char *glob);
u64 test_seed(void);		// derived from seed= and the test's name: the same in each run

// Waiting, asleep, for what other CPUs do. A wait is limited not by time but by rounds. A round ends when the waiter
// has slept and each online CPU has run since the round began, which shows in one of two ways:
//
//  * It has taken two ticks: the first may have been due already, but between the two it ran its threads. Or it has
//    looked at the watchdog of a spin as often (kernel/time.h), which shows that it runs with interrupts off.
//  * It rests: then it has nothing to run, and it does not matter whether the host runs it.
//
// So a CPU that the host does not run, or a clock that leaps, uses up no rounds. When the wait is given up, the thread
// that was waited for has had some thousand turns of its CPU. If a CPU never runs, the wait does not end: the watchdogs
// of the kernel and the time limit of the run are there for that.
#define WAIT_ROUNDS 2000
struct test_wait {
	u32 rounds;		// left
	u32 runs[NR_CPUS];	// how much each CPU had run when the round began
};
struct test_wait test_wait(u32 rounds);
bool test_wait_on(struct test_wait *w);	// sleep; false, at once: no round is left
u32 test_runs_of(unsigned cpu);	// grows while that CPU runs: its ticks, and its looks in spin_until(). Wraps
bool test_hold_on(struct test_wait *w);	// the same without sleep
bool cpu_rests(unsigned cpu, u64 until_ns);	// idle, no timer before then, no interrupt on its way but an NMI (a hint)

#define EVENTUALLY_WITHIN(cond, rounds) ({ \
	struct test_wait _w = test_wait(rounds); \
	bool _holds; \
	while (!(_holds = !!(cond)) && test_wait_on(&_w)) \
		; \
	_holds; })
bool test_wait_was_vain(void);	// false; says which CPUs do not rest, and why
// Does cond become true before WAIT_ROUNDS are over?
#define EVENTUALLY(cond) (EVENTUALLY_WITHIN(cond, WAIT_ROUNDS) || test_wait_was_vain())

// Go on for so many rounds without sleep, in any context: all other CPUs get the time to do what they must not do. A
// CPU that waits for us with interrupts off must do so by spin_until(), whose looks show that it runs.
#define WHILE_OTHERS_RUN(rounds) \
	for (struct test_wait _w = test_wait(rounds); test_hold_on(&_w);)
