// SPDX-License-Identifier: MIT
// Stall points: a named hook in each gap between two steps of a lockless protocol (checking builds; nothing in release
// builds). It is defined where it stands, by STALL(). A test arms one by its name and (space, address, level), and
// parks the CPU that comes by.
//
// One name may stand at several places, and an inlined body is one in each file: then there are several objects of that
// name. One of them leads: a CPU that comes by any of them is at the same point.
#pragma once
#include "kernel/atomic.h"

struct stall_point {
	const char *name;
	struct stall_point *same;	// the next object of this name; NULL: no more
	bool leads;			// stands for all of this name
	struct stall_point *armed_as;	// of each object, while its name is armed: the one that leads; otherwise NULL
	u32 armed;		// 0: off; or state and turn, see stall.c. Written after the fields below, read before
	u32 turn;		// how often it has been armed
	const void *space;	// NULL: any
	u64 va_lo, va_hi;	// address range; 0,0: any
	int level;		// 0: any
	int cpu;		// -1: any
	void (*action)(struct stall_point *, void *arg);	// what to do there; NULL: park until released
	void *arg;
	u32 parked;		// CPUs that are there now
	u32 released;
	u32 hits;
};

#if CHECK
#define STALL(name_, space_, va_, level_) do { \
	static struct stall_point _here = { .name = #name_, .cpu = -1 }; \
	REGISTER(stall_points, _here); \
	if (unlikely(__atomic_load_n(&_here.armed_as, __ATOMIC_RELAXED))) \
		stall_hit(&_here, (space_), (va_), (level_)); \
	stall_passed(); \
} while (0)
#else
#define STALL(name_, space_, va_, level_) do { } while (0)
#endif

void stall_hit(struct stall_point *here, const void *space, u64 va, int level);
// Where the CPUs take turns (QEMU's `-icount`), a turn ends only at HLT, PAUSE and timers: never inside a protocol, so
// that no CPU would ever find another one in a gap. So one passage in 16, drawn from opt_seed, ends the turn. Also,
// with and without -icount, does what stall_linger() asks for. Any context.
void stall_passed(void);
// Let each CPU linger at one in so many passages of any stall point, armed or not, for up to 65 us: so each gap of each
// protocol is wide now and then. Drawn from opt_seed. 0: off.
void stall_linger(unsigned passages);
u64 stall_lingered(void);	// how often CPUs have lingered so far
// The point of that name. If there is none, the running test fails, and no CPU ever comes by the point that is
// returned.
struct stall_point *stall_point(const char *name);
#define FOR_EACH_STALL_POINT(it) \
	FOR_EACH_REGISTERED(stall_points, struct stall_point, it) \
		if ((*it)->leads)
#if CHECK
void stall_init(void);		// boot, before any point is armed: link the objects of one name
#else
static inline void stall_init(void) { }
#endif
// Arm once: the first CPU that matches parks there (spinning in the state it is in: IRQs and preemption untouched).
void stall_arm(struct stall_point *p, const void *space, u64 va_lo, u64 va_hi, int level);
void stall_wait_parked(struct stall_point *p);	// until a CPU is parked (spin, watchdog)
void stall_release(struct stall_point *p);	// let it go on, and disarm
