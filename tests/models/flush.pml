// SPDX-License-Identifier: MIT
// The flush back-ends, for freed tables. Included after machine.pml, for the code of CPU 1.
//
// Models: flush_begin(), flush_targets() (mm/tlb.c); flush_by_ipi(); flush_pv(), steal_flush_later(); flush_nmi();
// deferred_defer(), post(), has_swept(); flush_hyperv(); flush_xen().

// For `auto`: has CPU 0 taken a maskable call of this very flush, or made a sweep that covers its record? Then each of
// its walks with interrupts off has ended that began before the unlink.
#if POLICY == AUTO
bit proved;
#define PROVES(what) proved = (what)
#else
#define PROVES(what) skip
#endif
#if defined(hyperv_claims_fallback) || defined(xen_claims_fallback)
#define CLAIM_FALLBACK PROVES(1)	// as if the hypervisor had refused, and an IPI had been sent
#else
#define CLAIM_FALLBACK
#endif

#define me 1
// Mutants of the barrier between unlink and masks: see unlink() in policy.pml.
inline read_masks(targets)
{
#if !defined(ipi_no_fence_freer) && !defined(no_fence_freer)
	MB();			// space->gen++
#endif
	LD(CPUS, targets);
#ifdef flush_skips_lazy
	if
	:: targets && is_lazy -> d_step { targets = 0; SAY("skips the lazy CPU") };
	:: else
	fi;
#endif
	if
	:: !targets -> LD(WALKERS, targets);
	:: else
	fi;
#if POLICY == AUTO
#if defined(flush_claims_targets)
	PROVES(targets);
#elif defined(flush_claims_alone)
	PROVES(!targets);
#elif !defined(auto_keeps_proof)
	PROVES(0);
#endif
#endif
}

inline await_answer()
{
#if POLICY == AUTO
	d_step { mem[ANSWERS] == 1 -> PROVES(1); SAY("has waited: CPU 0 has taken the call") }
#else
	AWAIT_ANSWER
#endif
}

inline flush_by_ipi(targets)
{
	if
	:: targets ->
		SEND_IPI(1);
		flush_own_here();
		await_answer();
	:: else -> flush_own_here()
	fi;
}

#if BACKEND == PV
inline flush_robbed(targets, seen, done)
{
	do
	:: targets ->
		LD(STEAL, seen);
		if
		:: !(seen & PREEMPTED) -> break
		:: else ->
			CMPXCHG(STEAL, seen, seen | FLUSH_TLB, done);
			if
			:: done -> targets = 0
			:: else
			fi;
		fi;
	:: else -> break
	od;
	seen = 0; done = 0
}
#endif

#if BACKEND == LAZY
inline flush_deferred(old)
{
	flush_own_here();
	ST(POSTED, VIEW(POSTED) + 1);
	XCHG(DUE, 1, old);
#ifndef lazy_no_wait
	d_step { VIEW(SWEPT) >= VIEW(POSTED) || (!(VIEW(CPUS) & 1) && !(VIEW(WALKERS) & 1)) -> old = 0;
		PROVES(VIEW(SWEPT) >= VIEW(POSTED));
		SAY("finds its record swept") }
#endif
}
#endif

#if BACKEND == XEN
inline flush_by_xen()
{
	if
	:: d_step { DRAINED -> cached[0] = 0; cached[1] = 0; SAY("hypercall: the hypervisor flushes all CPUs") };
		CLAIM_FALLBACK
	:: SEND_IPI(1); await_answer()	// the hypervisor refuses
	fi
}
#endif

inline flush(targets, a, b)
{
#if BACKEND == IPI
	flush_by_ipi(targets)
#elif BACKEND == PV
	flush_robbed(targets, a, b);
	flush_by_ipi(targets)
#elif BACKEND == NMI
	if
	:: targets ->
		ADD(REQUESTED, 1, a);
		d_step { a++; nmi = 1; SAY("sends the NMI") };
		flush_own_here();
		AWAIT(SERVED, VIEW(SERVED) >= a);
		a = 0
	:: else -> flush_own_here()
	fi;
#elif BACKEND == LAZY
	if
#if POLICY != RCU_PROXY			// which never defers
	:: targets -> flush_deferred(a)
#endif
	:: flush_by_ipi(targets)	// too much waits already, or no memory for the record
	fi;
#elif BACKEND == HYPERV
	flush_own_here();
	if
	:: targets ->
		d_step { DRAINED -> cached[0] = 0; SAY("hypercall: the hypervisor flushes CPU 0") };
		CLAIM_FALLBACK
	:: flush_by_ipi(targets)	// the hypervisor refuses
	fi;
#elif BACKEND == XEN
	flush_own_here();
	if
	:: targets -> flush_by_xen()
	:: else
	fi;
#endif
}
#undef me
