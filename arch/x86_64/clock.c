// SPDX-License-Identifier: MIT
// The clock: the TSC, scaled by a multiplication. Its frequency is measured against the best reference that this
// machine has (HPET, ACPI PM timer, PIT) or told by CPUID. On bare metal without an invariant TSC the HPET is the clock.
//
// A vCPU may be preempted in the middle of a measurement. So each reading of the reference is bracketed by two of the
// TSC and the tightest of a few is used; and of several intervals the one with the tightest ends that agrees with the
// median is taken (a reference that wrapped unseen is an outlier).
#include "arch/x86_64/acpi.h"
#include "arch/x86_64/clock.h"
#include "arch/x86_64/cpuid.h"
#include "arch/x86_64/io.h"
#include "arch/x86_64/kmap.h"
#include "arch/x86_64/xen.h"
#include "kernel/atomic.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/preempt.h"
#include <arch/machine.h>
#include <arch/time.h>

#define FS_PER_NS 1000000ull
#define WINDOW_FS 10000000000000ull	// 10 ms
#define ATTEMPTS 5
#define SPIN_MAX 50000000		// readings after which a counter counts as stuck
#define HZ_MIN 10000000ull		// plausible for a TSC; only a broken reference yields less than 10 MHz
#define HZ_MAX 20000000000ull
#define HZ_UNKNOWN 1000000000ull	// without any reference: the clock is then wrong, but goes on

static u64 tsc_hz;
static u64 ns_per_cycle, cycles_per_ns;	// fixed point, 32 bits of fraction
static const char *reference_name = "none";

static u64 (*clock_read)(void);		// the counter behind arch_ns()
static u64 clock_base;			// its value at boot
static u64 clock_scale;			// ns per tick, 32 bits of fraction; 0: not calibrated yet

// 64 × 64 → 128 bits in one instruction: no overflow for centuries, no division.
static u64 scale(u64 v, u64 factor) { return (u64)((unsigned __int128)v * factor >> 32); }

// --- references

static volatile u32 *hpet;
enum { HPET_CAPABILITIES = 0x00 / 4, HPET_PERIOD = 0x04 / 4, HPET_CONFIG = 0x10 / 4, HPET_COUNT = 0xf0 / 4,
       HPET_64BIT = 1 << 13, HPET_ENABLE = 1 << 0, HPET_PERIOD_MAX = 100000000 /* fs, by its specification */ };

static u64 hpet_read(void) { return hpet[HPET_COUNT]; }
static u64 hpet_read64(void) { return *(volatile u64 *)&hpet[HPET_COUNT]; }

static bool hpet_find(struct clock_counter *c)
{
	u64 address = acpi_hpet_address();

	hpet = address && !(address & 7) ? arch_map_mmio(address, ACPI_HPET_SIZE) : NULL;
	if (!hpet)
		return false;
	*c = (struct clock_counter){ "hpet", hpet_read, 0xffffffff, hpet[HPET_PERIOD] };
	if (!c->period_fs || c->period_fs > HPET_PERIOD_MAX)
		return false;
	hpet[HPET_CONFIG] |= HPET_ENABLE;
	return true;
}

static u16 pm_timer_port;
static u64 pm_timer_read(void) { return inl(pm_timer_port); }

static bool pm_timer_find(struct clock_counter *c)
{
	bool is_32bit;

	pm_timer_port = acpi_pm_timer_port(&is_32bit);
	// 3.579545 MHz, three times the PIT's
	*c = (struct clock_counter){ "pmtimer", pm_timer_read, is_32bit ? 0xffffffff : 0xffffff, 279365115 };
	return pm_timer_port;
}

enum { PIT_CHANNEL2 = 0x42, PIT_COMMAND = 0x43, PIT_GATE = 0x61, PIT_LATCH2 = 0x80, PIT_MODE0_CHANNEL2 = 0xb0,
       PIT_READ_BACK_STATUS2 = 0xe8, PIT_STATUS_MODE = 0x3f, PIT_STATUS_MODE0 = 0x30 };

static u64 pit_read(void)	// counts down
{
	u8 low;

	outb(PIT_COMMAND, PIT_LATCH2);
	low = inb(PIT_CHANNEL2);
	return 0xffffu - (low | (unsigned)inb(PIT_CHANNEL2) << 8);
}

static bool pit_find(struct clock_counter *c)
{
	outb(PIT_GATE, (u8)((inb(PIT_GATE) & ~2) | 1));		// speaker off, gate open
	outb(PIT_COMMAND, PIT_MODE0_CHANNEL2);
	outb(PIT_CHANNEL2, 0xff);
	outb(PIT_CHANNEL2, 0xff);
	outb(PIT_COMMAND, PIT_READ_BACK_STATUS2);
	if ((inb(PIT_CHANNEL2) & PIT_STATUS_MODE) != PIT_STATUS_MODE0)	// absent: waiting for it to count would take minutes
		return false;
	*c = (struct clock_counter){ "pit", pit_read, 0xffff, 838095345 };	// 1.193182 MHz
	return true;
}

// --- measuring

struct sample {
	u64 tsc, count, width;
};

static struct sample take_sample(const struct clock_counter *c)
{
	struct sample best = { .width = ~0ull };

	for (int i = 0; i < 5; i++) {
		u64 before = cycles(), count = c->read(), after = cycles();

		if (after - before < best.width)
			best = (struct sample){ before + (after - before) / 2, count, after - before };
	}
	return best;
}

struct attempt {
	struct clock_interval in;
	u64 width;		// uncertainty in cycles
	u64 ratio;		// cycles per tick, 20 bits of fraction
};

static bool measure_once(const struct clock_counter *c, u64 min_ticks, u64 min_cycles, struct attempt *out)
{
	struct sample a = take_sample(c), b;

	for (int i = 0; ((c->read() - a.count) & c->mask) < min_ticks || cycles() - a.tsc < min_cycles; i++)
		if (i == SPIN_MAX)
			return false;
	b = take_sample(c);
	out->in = (struct clock_interval){ b.tsc - a.tsc, (b.count - a.count) & c->mask };
	out->width = a.width + b.width;
	// Beyond these the products below would overflow: the host preempted this CPU for minutes, or the TSC jumped.
	if (!out->in.ticks || out->in.cycles >> 40)
		return false;
	out->ratio = (out->in.cycles << 20) / out->in.ticks;
	return true;
}

static int by_ratio(const void *a, const void *b)
{
	u64 x = ((const struct attempt *)a)->ratio, y = ((const struct attempt *)b)->ratio;

	return x < y ? -1 : x > y;
}

bool clock_measure(const struct clock_counter *c, u64 min_ticks, u64 min_cycles, struct clock_interval *out)
{
	struct attempt tries[ATTEMPTS], *best;
	unsigned n = 0;
	u64 median;

	for (unsigned i = 0; i < ATTEMPTS; i++) {
		irqflags_t flags = irq_save();

		n += measure_once(c, min_ticks, min_cycles, &tries[n]);
		irq_restore(flags);
		if (!n)
			return false;
	}
	ksort(tries, n, sizeof(tries[0]), by_ratio);
	best = &tries[n / 2];
	median = best->ratio;
	for (unsigned i = 0; i < n; i++) {
		u64 off = tries[i].ratio > median ? tries[i].ratio - median : median - tries[i].ratio;

		if (off <= median / 500 && tries[i].width < best->width)
			best = &tries[i];
	}
	*out = best->in;
	return true;
}

// The TSC's frequency by one reference; 0: that one cannot be used.
static u64 hz_by(const struct clock_counter *c)
{
	struct clock_interval in;
	u64 ns, hz;

	if (!clock_measure(c, WINDOW_FS / c->period_fs, 0, &in))
		return 0;
	ns = in.ticks * c->period_fs / FS_PER_NS;
	if (in.cycles > ~0ull / NSEC_PER_SEC || !ns)
		return 0;
	hz = in.cycles * NSEC_PER_SEC / ns;
	return hz >= HZ_MIN && hz <= HZ_MAX ? hz : 0;
}

static u64 hz_measured(const char **name)
{
	static bool (*const find[])(struct clock_counter *) = { hpet_find, pm_timer_find, pit_find };
	struct clock_counter c;

	for (unsigned i = 0; i < ARRAY_SIZE(find); i++) {
		u64 hz;

		if (!find[i](&c))
			continue;
		hz = hz_by(&c);
		if (hz) {
			*name = c.name;
			return hz;
		}
		log_warn("clock: %s does not count as it should", c.name);
	}
	return 0;
}

static u64 hz_told(const char **name)
{
	struct cpuid_regs r;

	if (xen_tsc_hz()) {
		*name = "xen";
		return xen_tsc_hz();
	}
	if (cpu_has_hypervisor() && cpuid_has_leaf(0x40000010)) {
		*name = "hypervisor";
		return cpuid(0x40000010).eax * 1000ull;
	}
	if (cpuid_has_leaf(0x15)) {
		r = cpuid(0x15);
		*name = "cpuid";
		if (r.eax && r.ebx)
			return (u64)r.ecx * r.ebx / r.eax;
	}
	return 0;
}

// --- the clock

static u64 tsc_read(void) { return cycles(); }

static void set_frequency(u64 hz)
{
	tsc_hz = hz;
	ns_per_cycle = (NSEC_PER_SEC << 32) / hz;
	cycles_per_ns = (hz / NSEC_PER_SEC << 32) + (hz % NSEC_PER_SEC << 32) / NSEC_PER_SEC;
}

static void start_clock(u64 (*read)(void), u64 ns_per_tick)
{
	clock_read = read;
	clock_base = read();
	clock_scale = ns_per_tick;
}

// Hypervisors keep the TSC constant although not all say so; on bare metal a TSC that is not invariant may stop in
// sleep states.
static bool tsc_is_steady(void) { return cpu_has_invariant_tsc() || cpu_has_hypervisor(); }

void clock_init(void)
{
	const char *by = NULL, *told_by = NULL;
	// A guest of Xen may have no timer to measure by, and where it has one, each access to it takes too long.
	u64 hz = xen_tsc_hz() ? 0 : hz_measured(&by), told = hz_told(&told_by);
	bool hpet_works = by && !strcmp(by, "hpet") && hpet[HPET_CAPABILITIES] & HPET_64BIT;

	// The frequency that CPUID tells is exact, but a hypervisor that scales the TSC may pass on its own CPU's.
	if (told >= HZ_MIN && told <= HZ_MAX && (!hz || (told > hz - hz / 100 && told < hz + hz / 100))) {
		hz = told;
		by = told_by;
	} else if (told) {
		log_warn("clock: %s says %llu Hz, %s measures %llu Hz", told_by, (unsigned long long)told,
			 by ? by : "nothing", (unsigned long long)hz);
	}
	if (!hz) {
		log_error("clock: no reference to calibrate the TSC by: assuming 1 GHz, times are wrong");
		hz = HZ_UNKNOWN;
		by = "none";
	}
	reference_name = by;
	set_frequency(hz);
	start_clock(tsc_read, ns_per_cycle);
	if (!tsc_is_steady() && hpet_works)
		start_clock(hpet_read64, ((u64)hpet[HPET_PERIOD] << 32) / FS_PER_NS);
	else if (!tsc_is_steady())
		log_warn("clock: the TSC is not invariant and there is no HPET to take instead");
	log_debug("clock: TSC %llu Hz by %s; clock is %s", (unsigned long long)hz, by,
		  clock_read == tsc_read ? "tsc" : "hpet");
}

void clock_check_cpu(u64 earlier)
{
	u64 now = cycles();

	if (clock_read == tsc_read && (s64)(now - earlier) < 0)
		log_warn("clock: CPU %u: the TSC is %llu cycles behind the boot CPU's", cpu_id(),
			 (unsigned long long)(earlier - now));
}

const char *clock_reference(void) { return reference_name; }

u64 arch_ns(void)
{
	return clock_scale ? scale(clock_read() - clock_base, clock_scale) : 0;
}

u64 arch_cycles_hz(void) { return tsc_hz; }
u64 arch_cycles_to_ns(u64 c) { return scale(c, ns_per_cycle); }
u64 clock_ns_to_cycles(u64 ns) { return scale(ns, cycles_per_ns); }

void arch_udelay(u32 us)
{
	u64 start = cycles(), wait = clock_ns_to_cycles(us * NSEC_PER_USEC);

	while (cycles() - start < wait)
		cpu_relax();
}
