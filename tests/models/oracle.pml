// SPDX-License-Identifier: MIT
// The oracle itself: a walk that its policy does not protect must not go unseen. CPU 0 publishes the table, looks at
// its state and reads it; CPU 1 marks it FREE, looks at what is published, and poisons it.
//
// Models: oracle_publish(), withdraw() (lab/oracle.c), inspect(), table_set_state() (mm/table.c). Asserts: a walker
// that reads a poisoned table was reported, by its own half or by that of the freeing side.
//
//! reports verified
//! oracle_no_fence_walker found
//! oracle_no_fence_freer found
//! oracle_state_first found
//! oracle_scan_first found
#define NCPU 2
mtype = { PATH, STATE };
#include "tso.pml"

#define LIVE 0
#define FREE 1
bit reported, poisoned;

#define me 0
proctype walker()
{
	byte state;

#ifndef oracle_state_first
	ST(PATH, 1);
#ifndef oracle_no_fence_walker
	MB();
#endif
	LD(STATE, state);
#else
	LD(STATE, state);
	ST(PATH, 1);
	MB();
#endif
	if
	:: state == FREE -> d_step { reported = 1; SAY("reports the table that it is about to read") }
	:: else
	fi;
	d_step { SAY("reads the table"); assert(!poisoned || reported) };
	ST(PATH, 0)
}
#undef me

#define me 1
proctype freer()
{
	byte path;

#ifdef oracle_scan_first
	LD(PATH, path);
	ST(STATE, FREE);
	MB();
#else
	ST(STATE, FREE);
#ifndef oracle_no_fence_freer
	MB();
#endif
	LD(PATH, path);
#endif
	if
	:: path -> d_step { reported = 1; SAY("reports the walker") }
	:: else
	fi;
	d_step { poisoned = 1; SAY("poisons the table") }
}
#undef me

init
{
	atomic { run walker(); run freer() }
}
