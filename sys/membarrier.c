// SPDX-License-Identifier: MIT
// membarrier(): a full barrier on the other CPUs, so that threads there need none. Each CPU concerned takes a cross-CPU call.
//
//	caller						another thread's CPU
//	------						--------------------
//	full barrier (entry of the call)
//	read space->cpus			<-A->	set own bit, full barrier, run the thread (tlb.h)
//	call: full barrier there, full barrier here
//
// A: a CPU that is not found in the mask has its barrier between what the caller did before and what the thread does.
#include "kernel/xcall.h"
#include "mm/space.h"
#include "sys/syscall.h"

enum {
	MEMBARRIER_QUERY = 0, MEMBARRIER_GLOBAL = 1, MEMBARRIER_PRIVATE_EXPEDITED = 8,
	MEMBARRIER_REGISTER_PRIVATE_EXPEDITED = 16,
};

static void barrier_here(void *unused) { smp_mb(); }

static s64 barrier_on(const struct cpumask *cpus)
{
	struct cpumask mask = { 0 };

	smp_mb();	// before the mask is read: A
	cpumask_or_acquire(&mask, cpus);
	xcall_mask(&mask, barrier_here, NULL);
	smp_mb();	// pairs with barrier_here(), and for CPUs not in the mask with tlb_join() and tlb_leave()
	return 0;
}

static s64 sys_membarrier(struct task *t, const u64 a[6])
{
	struct process *p = t->process;

	if ((u32)a[1])		// flags
		return -EINVAL;
	switch ((s32)a[0]) {
	case MEMBARRIER_QUERY:
		return MEMBARRIER_GLOBAL | MEMBARRIER_PRIVATE_EXPEDITED | MEMBARRIER_REGISTER_PRIVATE_EXPEDITED;
	case MEMBARRIER_GLOBAL:
		return barrier_on(&cpus_online);
	case MEMBARRIER_REGISTER_PRIVATE_EXPEDITED:
		WRITE_ONCE(p->membarrier, true);
		return 0;
	case MEMBARRIER_PRIVATE_EXPEDITED:
		return READ_ONCE(p->membarrier) ? barrier_on(&p->space->cpus) : -EPERM;
	default:
		return -EINVAL;
	}
}
SYSCALL(324, membarrier, sys_membarrier);
