// SPDX-License-Identifier: MIT
// The tickets of tlb_flush=nmi: CPUs 1 and 2 ask CPU 0 to flush; NMIs coalesce, and one that comes while the handler
// runs waits for its end.
//
// Models: flush_nmi(), serve() (mm/flush/nmi.c). Asserts: no page is freed that CPU 0 still has cached. Each
// requester is served (otherwise the model hangs).
//
//! tickets verified
//! nmi_no_flush found
//! nmi_late_ticket found
//! nmi_served_early found
//! nmi_sent_early hangs
#define NCPU 3
mtype = { ENTRY1, ENTRY2, REQUESTED, SERVED };
#include "tso.pml"

bit cached1, cached2;		// what CPU 0 has cached of each entry
bit nmi;			// pending

#define me 0
proctype hardware()
{
end:	do
	:: d_step { mem[ENTRY1] && !cached1 -> cached1 = 1; SAY("caches what ENTRY1 maps") }
	:: d_step { mem[ENTRY2] && !cached2 -> cached2 = 1; SAY("caches what ENTRY2 maps") }
	od
}

proctype serve()
{
	byte requested;

end:	do
	:: d_step { nmi -> nmi = 0; SAY("takes the NMI") };
		LD(REQUESTED, requested);
		if
		:: requested != VIEW(SERVED) ->
#ifdef nmi_served_early
			ST(SERVED, requested);
			d_step { DRAINED -> skip };
#endif
#ifndef nmi_no_flush
			d_step { cached1 = 0; cached2 = 0; SAY("flushes everything") };
#endif
#ifdef nmi_late_ticket
			LD(REQUESTED, requested);
#endif
#ifndef nmi_served_early
			ST(SERVED, requested);
#endif
		:: else
		fi;
		d_step { requested = 0; SAY("returns from the NMI") }
	od
}
#undef me

inline request(entry, cached, ticket)
{
	XCHG(entry, 0, ticket);
#ifdef nmi_sent_early
	d_step { nmi = 1; SAY("sends the NMI") };
	ADD(REQUESTED, 1, ticket);
	ticket++;
#else
	ADD(REQUESTED, 1, ticket);
	d_step { ticket++; nmi = 1; SAY("sends the NMI") };
#endif
	AWAIT(SERVED, VIEW(SERVED) >= ticket);
	d_step { SAY("frees its page"); assert(!cached) };
	ticket = 0
}

proctype requester(byte me)
{
	byte ticket;

	if
	:: me == 1 -> request(ENTRY1, cached1, ticket)
	:: else -> request(ENTRY2, cached2, ticket)
	fi
}

init
{
	atomic { mem[ENTRY1] = 1; mem[ENTRY2] = 1; run hardware(); run serve(); run requester(1); run requester(2) }
}
