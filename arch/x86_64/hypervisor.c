// SPDX-License-Identifier: MIT
// Which hypervisor runs us: the signatures in CPUID leaves 0x40000000, 0x40000100 …, valid where leaf 1 says that there
// is a hypervisor at all.
#include "arch/x86_64/hypervisor.h"
#include "arch/x86_64/cpuid.h"
#include "kernel/lib.h"
#include <arch/machine.h>

#define FIRST_LEAF 0x40000000u
#define LEAF_STEP 0x100u
#define MOST_INTERFACES 4u

u32 hypervisor_leaf(const char *signature)
{
	if (!cpu_has_hypervisor())
		return 0;
	for (u32 leaf = FIRST_LEAF; leaf < FIRST_LEAF + MOST_INTERFACES * LEAF_STEP; leaf += LEAF_STEP) {
		struct cpuid_regs r = cpuid(leaf);
		u32 found[3] = { r.ebx, r.ecx, r.edx };

		if (!memcmp(found, signature, sizeof(found)))
			return leaf;
	}
	return 0;
}

const char *arch_hypervisor(void)
{
	static const struct {
		char signature[13];
		const char *name;
	} known[] = {
		{ KVM_SIGNATURE, "kvm" },	// first: it may pose as Hyper-V
		{ "XenVMMXenVMM", "xen" },		// … and so may Xen
		{ "TCGTCGTCGTCG", "tcg" },
		{ "Microsoft Hv", "hyperv" },
		{ "VMwareVMware", "vmware" },
		{ "VBoxVBoxVBox", "virtualbox" },
		{ "bhyve bhyve ", "bhyve" },
		{ " lrpepyh  vr", "parallels" },
	};

	if (!cpu_has_hypervisor())
		return "none";
	for (unsigned i = 0; i < ARRAY_SIZE(known); i++)
		if (hypervisor_leaf(known[i].signature))
			return known[i].name;
	return "unknown";
}
