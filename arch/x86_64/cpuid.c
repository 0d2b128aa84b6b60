// SPDX-License-Identifier: MIT
// What this processor calls itself and what it has, as text: for the header of a run's measurements.
#include "arch/x86_64/cpuid.h"
#include "kernel/lib.h"
#include <arch/machine.h>

#define BRAND_LEAF 0x80000002u	// … 4: 16 bytes each

const char *arch_cpu_brand(void)
{
	static char brand[3 * sizeof(struct cpuid_regs) + 1];
	char *start = brand;

	if (!cpuid_has_leaf(BRAND_LEAF + 2))
		return "";
	for (u32 i = 0; i < 3; i++) {
		struct cpuid_regs r = cpuid(BRAND_LEAF + i);

		memcpy(brand + i * sizeof(r), &r, sizeof(r));
	}
	for (size_t n = strlen(brand); n && brand[n - 1] == ' '; n--)
		brand[n - 1] = '\0';
	while (*start == ' ')
		start++;
	return start;
}

enum cpuid_register { EAX, EBX, ECX, EDX };

static bool has(u32 leaf, enum cpuid_register reg, unsigned bit)
{
	struct cpuid_regs r = { 0 };
	u32 values[4];

	if (cpuid_has_leaf(leaf))
		r = cpuid_count(leaf, 0);
	memcpy(values, &r, sizeof(values));
	return values[reg] >> bit & 1;
}

const char *arch_cpu_features(void)
{
	static const struct {
		const char *name;
		u32 leaf;
		u8 reg, bit;
	} known[] = {		// what bears on translations, interrupts between CPUs, and clocks
		{ "pge", 1, EDX, 13 }, { "pcid", 1, ECX, 17 }, { "invpcid", 7, EBX, 10 }, { "invlpgb", 0x80000008, EBX, 3 },
		{ "x2apic", 1, ECX, 21 }, { "tsc_deadline", 1, ECX, 24 }, { "invariant_tsc", 0x80000007, EDX, 8 },
		{ "rdtscp", 0x80000001, EDX, 27 }, { "la57", 7, ECX, 16 }, { "pdpe1gb", 0x80000001, EDX, 26 },
		{ "nx", 0x80000001, EDX, 20 }, { "smep", 7, EBX, 7 }, { "smap", 7, EBX, 20 }, { "umip", 7, ECX, 2 },
		{ "erms", 7, EBX, 9 }, { "hypervisor", 1, ECX, 31 },
	};
	static char text[256];
	size_t len = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(known); i++)
		if (has(known[i].leaf, known[i].reg, known[i].bit))
			len += (size_t)ksnprintf(text + len, sizeof(text) - len, "%s%s", len ? " " : "", known[i].name);
	return text;
}
