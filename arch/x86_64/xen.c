// SPDX-License-Identifier: MIT
// Xen: the hypercall page, the hypercalls that belong to nobody else, and the back-end's flush.
#include "arch/x86_64/xen.h"
#include "arch/x86_64/cpuid.h"
#include "arch/x86_64/hypervisor.h"
#include "arch/x86_64/io.h"
#include "arch/x86_64/kmap.h"
#include "kernel/lib.h"
#include "lab/counter.h"
#include "lab/mutant.h"
#include <arch/xen.h>

#define SIGNATURE "XenVMMXenVMM"
enum { LEAF_HYPERCALLS = 2, LEAF_TIME = 3, LEAF_VCPU = 4, HAS_VCPU_NUMBER = 1 << 3 };
#define ENTRY_SIZE 32u
enum { MEMORY_MAP = 9, SHUTDOWN = 2 };	// commands
enum { SHUTDOWN_POWEROFF = 0, SHUTDOWN_STATUS = 0x10 };	// reasons; Xen itself gives 0 to 5 a meaning
#define DOMID_SELF 0x7ff0u

extern const char xen_page[];
static u32 base;		// Xen's first CPUID leaf; 0: no guest of Xen
static u64 params;		// asked for, by hypercalls of the number that the flush has, too

bool xen_present(void) { return base; }

// The page is written in 64-bit mode: that also tells Xen to use the 64-bit layout of its records.
void xen_init(void)
{
	base = hypervisor_leaf(KVM_SIGNATURE) ? 0 : hypervisor_leaf(SIGNATURE);	// KVM may pose as Xen
	if (base)
		wrmsr(cpuid(base + LEAF_HYPERCALLS).ebx, image_to_phys(xen_page));
}

s64 xen_hypercall(unsigned nr, u64 a, u64 b, u64 c)
{
	s64 result;

	__asm__ volatile("call *%[entry]" : "=a"(result), "+D"(a), "+S"(b), "+d"(c)
			 : [entry] "r"(xen_page + ENTRY_SIZE * nr) : "rcx", "r8", "r9", "r10", "r11", "memory", "cc");
	return result;
}

u64 xen_hvm_param(u32 index)
{
	struct { u16 domain, pad; u32 index; u64 value; } p = { DOMID_SELF, 0, index, 0 };

	params++;
	return xen_hypercall(XEN_HVM_OP, XEN_HVM_GET_PARAM, (uintptr_t)&p, 0) ? 0 : p.value;
}

bool xen_memory_map(struct boot_info *b)
{
	struct __attribute__((packed)) entry { u64 start, length; u32 type; };
	static struct entry entries[BOOT_MEMORY_MAX];
	struct { u32 n, pad; u64 entries; } map = { BOOT_MEMORY_MAX, 0, (uintptr_t)entries };

	if (!base || xen_hypercall(XEN_MEMORY_OP, MEMORY_MAP, (uintptr_t)&map, 0) || map.n > BOOT_MEMORY_MAX)
		return false;
	for (u32 i = 0; i < map.n; i++)
		boot_add_memory(b, entries[i].start, entries[i].length, entries[i].type == BOOT_MEMORY_RAM);
	return b->nr_memory;
}

u64 xen_tsc_hz(void) { return base ? cpuid_count(base + LEAF_TIME, 0).ecx * 1000ull : 0; }

u32 xen_vcpu_number(void)
{
	struct cpuid_regs r = cpuid(base + LEAF_VCPU);

	return r.eax & HAS_VCPU_NUMBER ? r.ebx : cpu_id();
}

void xen_shutdown(int status)
{
	u32 reason = boot_info.initial_domain ? SHUTDOWN_POWEROFF : SHUTDOWN_STATUS + (u32)status;

	if (base)
		xen_hypercall(XEN_SCHED_OP, SHUTDOWN, (uintptr_t)&reason, 0);
}

// --- the back-end

u64 arch_xen_params(void) { return params; }

const char *arch_xen_missing(void) { return base ? NULL : "this machine is no guest of Xen"; }

bool arch_xen_flush(void)
{
	u64 argument = 0;		// Xen refuses any other

	if (MUTANT(xen_refuses))	// in arch/: it has one
		argument = 1;
	count(flush_xen_calls);
	return !xen_hypercall(XEN_HVM_OP, XEN_HVM_FLUSH_TLBS, argument, 0);
}
