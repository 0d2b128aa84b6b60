// SPDX-License-Identifier: MIT
// A guest of Hyper-V, or of a KVM or Xen that poses as it: the hypercall page, each CPU's number as a virtual processor, and
// the flush hypercalls (hyperv_call.h). Facts from Microsoft's Hypervisor Top-Level Functional Specification.
#include <arch/hyperv.h>
#include <arch/irq.h>
#include "arch/x86_64/cpuid.h"
#include "arch/x86_64/hyperv_call.h"
#include "arch/x86_64/hypervisor.h"
#include "arch/x86_64/io.h"
#include "arch/x86_64/kmap.h"
#include "kernel/lib.h"
#include "kernel/panic.h"
#include "kernel/preempt.h"
#include "lab/counter.h"
#include "lab/mutant.h"

#define SIGNATURE "Microsoft Hv"
#define INTERFACE_HV1 0x31237648u	// "Hv#1"
enum { LEAF_INTERFACE = 1, LEAF_PRIVILEGES = 3, LEAF_RECOMMENDED = 4 };
enum { MAY_HYPERCALL = 1 << 5, MAY_VP_INDEX = 1 << 6 };			// LEAF_PRIVILEGES, EAX
enum { REMOTE_FLUSH = 1 << 2, EX_PROCESSOR_MASKS = 1 << 11 };		// LEAF_RECOMMENDED, EAX
enum { MSR_OS_ID = 0x40000000, MSR_HYPERCALL = 0x40000001, MSR_VP_INDEX = 0x40000002 };
// An open-source guest (bit 63); 62:56 its type, here an unassigned one; 47:16 its version. Xen takes bits 47:40 for the
// number of a Windows, and recommends nothing to one before Vista's, 4.
#define OS_ID (1ull << 63 | 0x51ull << 56 | 0x04000000ull << 16 | 1)
#define HYPERCALL_ENABLE 1ull
#define HYPERCALL_RESERVED 0xffcull	// to be preserved
#define BAD_CALL_CODE 0xffffull		// no hypercall

extern const char hyperv_page[];
static bool enabled, refused, has_extended, always_extended;
static DEFINE_PER_CPU(u32, vp_index);
// Twice what is needed, so that an aligned half crosses no page boundary: per-CPU data is aligned to 64 bytes only.
static DEFINE_PER_CPU(u64, input_words[2 * HV_INPUT_WORDS]);

// Xen recommends nothing before it knows who asks.
static u32 recommended(u32 base)
{
	if (rdmsr(MSR_OS_ID) != OS_ID)
		wrmsr(MSR_OS_ID, OS_ID);
	return cpuid(base + LEAF_RECOMMENDED).eax;
}

const char *arch_hyperv_missing(void)
{
	u32 base = hypervisor_leaf(SIGNATURE), may;

	if (!base)
		return "this machine is no guest of Hyper-V";
	if (cpuid(base).eax < base + LEAF_RECOMMENDED || cpuid(base + LEAF_INTERFACE).eax != INTERFACE_HV1)
		return "this hypervisor does not implement Hyper-V's interface";
	may = cpuid(base + LEAF_PRIVILEGES).eax;
	if (!(may & MAY_HYPERCALL) || !(may & MAY_VP_INDEX))
		return "this hypervisor grants its guest no hypercalls";
	if (!(recommended(base) & REMOTE_FLUSH))
		return "this hypervisor recommends no flush by hypercall";
	return refused ? "the hypercall page is locked at another address" : NULL;
}

void arch_hyperv_init_cpu(void)
{
	u64 page;

	if (arch_hyperv_missing())
		return;
	this_cpu_write(vp_index, (u32)rdmsr(MSR_VP_INDEX));
	if (cpu_id())
		return;		// the rest is done once, for the whole machine
	has_extended = recommended(hypervisor_leaf(SIGNATURE)) & EX_PROCESSOR_MASKS;
	page = image_to_phys(hyperv_page) | HYPERCALL_ENABLE;
	wrmsr(MSR_HYPERCALL, page | (rdmsr(MSR_HYPERCALL) & HYPERCALL_RESERVED));
	// Firmware may have locked the hypercall page at an address of its own: then ours holds no code.
	enabled = (rdmsr(MSR_HYPERCALL) & ~HYPERCALL_RESERVED) == page;
	refused = !enabled;
}

void arch_hyperv_extend(bool always) { WRITE_ONCE(always_extended, always && has_extended); }

static u64 hypercall(u64 control, const u64 *input)
{
	register u64 output __asm__("r8") = 0;
	u64 in = virt_to_phys(input), result;

	__asm__ volatile("call hyperv_page" : "=a"(result), "+c"(control), "+d"(in), "+r"(output)
			 :: "r9", "r10", "r11", "memory", "cc");
	return result;
}

// The hypervisor may stop after some repetitions; then it is asked for the rest.
static bool call_all(u64 control, const u64 *input)
{
	u32 reps = (u32)(control >> HV_REPS_SHIFT) & HV_REPS_MASK, done = 0, last;

	do {
		u64 result = hypercall(control | (u64)done << HV_FIRST_REP_SHIFT, input);

		if (HV_STATUS(result))
			return false;
		last = done;
		done = HV_REPS_DONE(result);
	} while (done < reps && done > last);
	return done >= reps;
}

static void count_form(u64 control, bool ok)
{
	count(flush_hv_calls);
	count_add(flush_hv_lists, control >> HV_REPS_SHIFT && ok);
	count_add(flush_hv_extended, ((u16)control == HV_FLUSH_SPACE_EX || (u16)control == HV_FLUSH_LIST_EX) && ok);
}

bool arch_hyperv_flush(paddr_t root, vaddr_t start, u64 pages, int level, const struct cpumask *targets)
{
	u64 *input = (u64 *)ALIGN_UP((uintptr_t)this_cpu_ptr(&input_words), sizeof(u64) * HV_INPUT_WORDS);
	struct hv_vps vps;
	u64 control;
	bool extended, ok;

	ASSERT(this_cpu_read(preempt_count));	// the input is this CPU's, and no interrupt handler flushes
	if (!enabled)
		return false;
	vps.banks = 0;
	for_each_cpu_in(cpu, targets)
		hv_vps_add(&vps, per_cpu(vp_index, cpu));
	extended = READ_ONCE(always_extended) || vps.banks != 1;
	if (extended && !has_extended)
		return false;
	control = hv_flush_build(input, root, start, pages, level, &vps, extended);
	if (!control)
		return false;
	if (MUTANT(hyperv_refuses))	// in arch/: the call has a code that no hypervisor knows
		control = BAD_CALL_CODE;
	ok = call_all(control, input);
	count_form(control, ok);
	return ok;
}
