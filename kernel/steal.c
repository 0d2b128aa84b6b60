// SPDX-License-Identifier: MIT
// The steal-time records: who owns them, and the part of the protocol of a CPU that flushes. See steal.h.
#include "kernel/steal.h"
#include "kernel/cmdline.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/panic.h"
#include "lab/mutant.h"
#include <arch/steal.h>

DEFINE_PER_CPU(struct steal_record, steal_record);

static const char *const names[] = { [STEAL_NONE] = "none", [STEAL_THIEF] = "thief", [STEAL_KVM] = "kvm" };
#define UNDECIDED (-1)
static int owner = UNDECIDED;

// Decided once: in a guest it takes a while to find out what the hypervisor offers. (Every CPU would find the same.)
enum steal_owner steal_owner(void)
{
	if (unlikely(READ_ONCE(owner) == UNDECIDED))
		WRITE_ONCE(owner, arch_steal_flush_missing() ? STEAL_THIEF : STEAL_KVM);
	return (enum steal_owner)READ_ONCE(owner);
}

static const char *set_steal(const char *value)
{
	for (int i = 0; i < (int)ARRAY_SIZE(names); i++) {
		if (strcmp(value, names[i]))
			continue;
		if (i == STEAL_KVM && arch_steal_missing())
			return arch_steal_missing();
		owner = i;
		return NULL;
	}
	return "unknown owner";
}
CMDLINE_KEY(steal, "none|thief|kvm (who keeps the steal-time records and preempts CPUs: nobody, lab/thief.c, KVM; "
	    "default kvm where it flushes for a preempted CPU, otherwise thief)", set_steal);

const char *steal_missing(void)
{
	switch (steal_owner()) {
	case STEAL_KVM:
		return arch_steal_flush_missing();
	case STEAL_THIEF:
		return NULL;
	default:
		return "with steal=none nobody would flush for a preempted CPU";
	}
}

void steal_init_cpu(void)
{
	struct steal_record *r = this_cpu_ptr(&steal_record);

	ASSERT((uintptr_t)r % sizeof(*r) == 0);
	if (steal_owner() == STEAL_KVM)
		arch_steal_enable(r);
	if (cpu_id() == 0)
		log_info("steal=%s", names[steal_owner()]);
}

// The exchange is made even if the flag is set already: it fails if the owner has cleared the flag meanwhile, so when
// it succeeds, the owner's exchange and the flush after it are yet to come.
bool steal_flush_later(unsigned cpu)
{
	u8 *preempted = &per_cpu(steal_record, cpu).preempted, seen;

	do {
		seen = READ_ONCE(*preempted);
		if (!(seen & STEAL_PREEMPTED))
			return false;
		if (MUTANT(steal_no_flag))	// a preempted CPU is left out and not marked
			return true;
	} while (!cmpxchg(preempted, seen, (u8)(seen | STEAL_FLUSH_TLB)));
	return true;
}

u64 steal_ns(unsigned cpu)
{
	struct steal_record *r = per_cpu_ptr(&steal_record, cpu);
	u32 version;
	u64 ns;

	do {
		version = load_acquire(&r->version);
		ns = READ_ONCE(r->ns);
		smp_rmb();	// ns before the second look at the version; pairs with the owner's write barriers
	} while (version & 1 || READ_ONCE(r->version) != version);
	return ns;
}
