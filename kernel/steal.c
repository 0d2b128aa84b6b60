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

static const char *nothing_missing(void) { return NULL; }
static const char *nobody(void) { return "with steal=none nobody would flush for a preempted CPU"; }
static const char *only_told(void) { return "steal=xen: Xen's run-state areas take no flush requests"; }

static const struct {
	const char *name;
	const char *(*missing)(void);		// why it cannot keep the records
	const char *(*flush_missing)(void);	// why it would not flush
} owners[] = {
	[STEAL_NONE] = { "none", nothing_missing, nobody },
	[STEAL_THIEF] = { "thief", nothing_missing, nothing_missing },
	[STEAL_KVM] = { "kvm", arch_steal_missing, arch_steal_flush_missing },
	[STEAL_XEN] = { "xen", arch_runstate_missing, only_told },
};
#define UNDECIDED (-1)
static int owner = UNDECIDED;

static enum steal_owner default_owner(void)
{
	if (!arch_steal_flush_missing())
		return STEAL_KVM;
	return arch_runstate_missing() ? STEAL_THIEF : STEAL_XEN;
}

// Decided once: in a guest it takes a while to find out what the hypervisor offers. (Every CPU would find the same.)
enum steal_owner steal_owner(void)
{
	if (unlikely(READ_ONCE(owner) == UNDECIDED))
		WRITE_ONCE(owner, default_owner());
	return (enum steal_owner)READ_ONCE(owner);
}

static const char *set_steal(const char *value)
{
	for (int i = 0; i < (int)ARRAY_SIZE(owners); i++) {
		if (strcmp(value, owners[i].name))
			continue;
		if (owners[i].missing())
			return owners[i].missing();
		owner = i;
		return NULL;
	}
	return "unknown owner";
}
CMDLINE_KEY(steal, "none|thief|kvm|xen (who preempts CPUs and keeps account of it: nobody, lab/thief.c, KVM, Xen; default kvm "
	    "where it flushes for a preempted CPU, xen under Xen, otherwise thief)", set_steal);

const char *steal_missing(void) { return owners[steal_owner()].flush_missing(); }

void steal_init_cpu(void)
{
	struct steal_record *r = this_cpu_ptr(&steal_record);

	ASSERT((uintptr_t)r % sizeof(*r) == 0);
	if (steal_owner() == STEAL_KVM)
		arch_steal_enable(r);
	if (steal_owner() == STEAL_XEN && !arch_runstate_enable())
		panic("CPU %u: Xen refuses to keep its run-state area; start with steal=none", cpu_id());
	if (cpu_id() == 0)
		log_info("steal=%s", owners[steal_owner()].name);
}

bool steal_preempted(unsigned cpu)
{
	if (steal_owner() == STEAL_XEN)
		return arch_runstate_preempted(cpu);
	return READ_ONCE(per_cpu(steal_record, cpu).preempted) & STEAL_PREEMPTED;
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

	if (steal_owner() == STEAL_XEN)
		return arch_runstate_stolen_ns(cpu);
	do {
		version = load_acquire(&r->version);
		ns = READ_ONCE(r->ns);
		smp_rmb();	// ns before the second look at the version; pairs with the owner's write barriers
	} while (version & 1 || READ_ONCE(r->version) != version);
	return ns;
}
