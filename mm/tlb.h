// SPDX-License-Identifier: MIT
// Which CPU has which space loaded, and the shootdown.
//
//   unmapper                                  CPU that loads the space
//   --------                                  ------------------------
//   change the entries (xchg)                 set own bit in space->cpus
//   gen++            (full barrier)   <-A->   full barrier
//   read space->cpus                          read gen, load the root, tlb.gen = gen
//
// A: either the unmapper sees the bit and sends, or the CPU's walks come after the barrier and see the new entries. The
// same shape protects the lazy state: a CPU that leaves it clears `lazy`, full barrier, reads gen and flushes if it is
// behind; the unmapper increments gen, full barrier, reads `lazy`.
#pragma once
#include "kernel/cpumask.h"
#include "mm/flush/flush.h"

struct thread;

struct cpu_tlb {
	struct space *loaded;	// whose root this CPU has; NULL: the kernel's. Own CPU, IRQs off
	u64 gen;		// all flushes of `loaded` up to this generation are done here. Own CPU, IRQs off
	u32 lazy __cacheline;	// a kernel thread runs: user addresses are not used. Read by unmappers, with acquire
};
DECLARE_PER_CPU(struct cpu_tlb, cpu_tlb);

// From schedule(), IRQs off: load next's space, or become lazy.
void tlb_follow(struct thread *next);
// Flush [start, end) on every CPU that may have it cached. On return no CPU uses an old translation: one that holds the
// space lazily touches no user address (the accessors refuse when the current thread has no space) and catches up
// before it does; with freed_tables it has flushed as well. Preemption on or off, IRQs on.
void tlb_flush(struct space *s, vaddr_t start, vaddr_t end, int level, bool freed_tables);
// The same for what a gather has collected. True: the back-end has taken it over and will release it once it is
// flushed.
struct gather;
bool tlb_flush_gathered(struct gather *g);
void tlb_flush_all_here(void);		// all of the loaded space; a CPU that holds it lazily leaves it. IRQs off
void tlb_leave_lazy(void);		// leave the space that this CPU holds lazily, if any. IRQs off
void tlb_flush_here(const struct flush *f);	// this CPU's share; IRQs off. For back-ends
void tlb_flush_handler(void *flush);		// the same as an xcall
// No CPU has s loaded any more when this returns: those that held it lazily have moved to the kernel's root. No thread
// may run in s.
void tlb_evict(struct space *s);
// Preemption off.
static __always_inline bool tlb_space_loaded_here(const struct space *s)
{
	return this_cpu_read(cpu_tlb.loaded) == s;
}
