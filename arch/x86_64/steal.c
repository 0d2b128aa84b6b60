// SPDX-License-Identifier: MIT
// KVM's steal-time records (Linux: Documentation/virt/kvm/x86/{cpuid,msr}.rst).
#include <arch/steal.h>
#include "arch/x86_64/cpuid.h"
#include "arch/x86_64/hypervisor.h"
#include "arch/x86_64/io.h"
#include <arch/pte.h>

#define MSR_KVM_STEAL_TIME 0x4b564d03u
#define STEAL_TIME_ENABLE 1ull
enum { FEATURE_STEAL_TIME = 5, FEATURE_PV_TLB_FLUSH = 9 };	// bits of EAX of the leaf after the signature's

static bool kvm_has(unsigned feature)
{
	u32 base = hypervisor_leaf(KVM_SIGNATURE);

	return base && cpuid(base).eax >= base + 1 && (cpuid(base + 1).eax >> feature & 1);
}

const char *arch_steal_missing(void)
{
	if (!hypervisor_leaf(KVM_SIGNATURE))
		return "this machine is no guest of KVM";
	return kvm_has(FEATURE_STEAL_TIME) ? NULL : "this KVM offers no steal-time record";
}

const char *arch_steal_flush_missing(void)
{
	const char *missing = arch_steal_missing();

	if (missing)
		return missing;
	return kvm_has(FEATURE_PV_TLB_FLUSH) ? NULL : "this KVM's steal-time record takes no flush requests";
}

void arch_steal_enable(void *record) { wrmsr(MSR_KVM_STEAL_TIME, virt_to_phys(record) | STEAL_TIME_ENABLE); }
