// SPDX-License-Identifier: MIT
// Clocks and sleeps: they go on, agree, and last at least so long. No line depends on how long.
#include "user/common/check.h"
#include <pthread.h>
#include <sys/time.h>
#include <time.h>

#define SECOND 1000000000ll

static long long now(clockid_t clock)
{
	struct timespec t;

	CHECK(!clock_gettime(clock, &t));
	CHECK(t.tv_nsec >= 0 && t.tv_nsec < SECOND);
	return t.tv_sec * SECOND + t.tv_nsec;
}

static void goes_on(const char *name, clockid_t clock)
{
	long long last = now(clock), first = last;
	struct timespec resolution;

	while (last < first + 1000000) {	// a millisecond of it
		long long t = now(clock);
		CHECK(t >= last);
		last = t;
	}
	CHECK(!clock_getres(clock, &resolution));
	CHECK(!resolution.tv_sec && resolution.tv_nsec > 0 && resolution.tv_nsec <= SECOND / 100);
	say("%s: never goes back, resolution below 10 ms", name);
}

static void clocks(void)
{
	struct timeval day;
	long long monotonic = now(CLOCK_MONOTONIC), realtime = now(CLOCK_REALTIME);

	goes_on("CLOCK_MONOTONIC", CLOCK_MONOTONIC);
	goes_on("CLOCK_REALTIME", CLOCK_REALTIME);
	CHECK(now(CLOCK_MONOTONIC) - monotonic >= 1000000);
	CHECK(!gettimeofday(&day, NULL));
	CHECK(day.tv_usec >= 0 && day.tv_usec < 1000000);
	long long later = now(CLOCK_REALTIME);
	long long by_day = day.tv_sec * SECOND + day.tv_usec * 1000ll;
	CHECK(by_day >= realtime - 1000 && by_day <= later);
	say("gettimeofday: between two looks at CLOCK_REALTIME");
}

// The calls themselves: the libraries would take a clock from a vDSO where there is one.
static void calls(void)
{
	struct timespec t;
	struct timeval day;

	say("clock_gettime, no such clock: %s", error_of(raw(SYS_clock_gettime, 999, &t)));
	say("clock_gettime, bad address: %s", error_of(raw(SYS_clock_gettime, CLOCK_MONOTONIC, 8)));
	say("clock_getres, no such clock: %s", error_of(raw(SYS_clock_getres, 999, &t)));
	say("clock_getres, nowhere: %s", error_of(raw(SYS_clock_getres, CLOCK_MONOTONIC, NULL)));
	say("gettimeofday: %s; bad address: %s", error_of(raw(SYS_gettimeofday, &day, NULL)),
	    error_of(raw(SYS_gettimeofday, 8, NULL)));
	t = (struct timespec){ .tv_nsec = SECOND };
	say("nanosleep, 10^9 ns: %s", error_of(raw(SYS_nanosleep, &t, NULL)));
	t = (struct timespec){ .tv_sec = -1 };
	say("nanosleep, negative: %s", error_of(raw(SYS_nanosleep, &t, NULL)));
	say("nanosleep, bad address: %s", error_of(raw(SYS_nanosleep, 8, NULL)));
	say("clock_nanosleep, no such clock: %s", error_of(raw(SYS_clock_nanosleep, 999, 0, &t, NULL)));
}

static void sleeps(void)
{
	static const long times[] = { 0, 1, 100000, 3000000, 20000000 };

	for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
		struct timespec t = { .tv_nsec = times[i] };
		long long start = now(CLOCK_MONOTONIC);
		CHECK_EQ(raw(SYS_nanosleep, &t, NULL), 0);
		CHECK(now(CLOCK_MONOTONIC) - start >= times[i]);
		say("nanosleep, %ld ns: at least so long", times[i]);
	}
	long long until = now(CLOCK_MONOTONIC) + 5000000;
	struct timespec t = { until / SECOND, until % SECOND };
	CHECK_EQ(raw(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL), 0);
	CHECK(now(CLOCK_MONOTONIC) >= until);
	CHECK_EQ(raw(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL), 0);	// over already
	say("clock_nanosleep until a time: not before");
}

static void *sleep_long(void *arg)
{
	struct timespec t = { .tv_nsec = 30000000 };

	CHECK(!nanosleep(&t, NULL));
	return arg;
}

// Sleeps of several threads pass side by side.
static void side_by_side(void)
{
	pthread_t threads[20];
	long long start = now(CLOCK_MONOTONIC);

	for (int i = 0; i < 20; i++)
		CHECK(!pthread_create(&threads[i], NULL, sleep_long, NULL));
	for (int i = 0; i < 20; i++)
		CHECK(!pthread_join(threads[i], NULL));
	CHECK(now(CLOCK_MONOTONIC) - start >= 30000000);
	say("20 threads have slept");
}

int main(void)
{
	clocks();
	calls();
	sleeps();
	side_by_side();
	return 0;
}
