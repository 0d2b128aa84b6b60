// SPDX-License-Identifier: MIT
// Who runs us: the signature in CPUID leaf 0x40000000, valid where leaf 1 says that there is a hypervisor at all.
#include "arch/x86_64/cpuid.h"
#include "kernel/lib.h"
#include <arch/machine.h>

const char *arch_hypervisor(void)
{
	static const struct {
		char signature[13];
		const char *name;
	} known[] = {
		{ "TCGTCGTCGTCG", "tcg" },
		{ "KVMKVMKVM\0\0\0", "kvm" },
		{ "Microsoft Hv", "hyperv" },	// also KVM that poses as Hyper-V
		{ "VMwareVMware", "vmware" },
		{ "XenVMMXenVMM", "xen" },
		{ "VBoxVBoxVBox", "virtualbox" },
		{ "bhyve bhyve ", "bhyve" },
		{ " lrpepyh  vr", "parallels" },
	};
	struct cpuid_regs r;
	u32 signature[3];

	if (!cpu_has_hypervisor())
		return "none";
	r = cpuid(0x40000000);
	signature[0] = r.ebx;
	signature[1] = r.ecx;
	signature[2] = r.edx;
	for (unsigned i = 0; i < ARRAY_SIZE(known); i++)
		if (!memcmp(known[i].signature, signature, sizeof(signature)))
			return known[i].name;
	return "unknown";
}
