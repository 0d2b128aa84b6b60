// SPDX-License-Identifier: MIT
// x86-TSO in Promela: each CPU has a store buffer of DEPTH entries in front of one common memory.
//
//	CPU: store ──▶ [ oldest | newest ] ──▶ memory      a store waits while the buffer is full;
//	     load  ◀── newest own store to it, else memory  the buffer is emptied in order, at any time;
//	     fence, LOCKed instruction: wait until the own buffer is empty. The latter then acts on memory at once.
//
// Before including it a model declares its memory locations as mtypes, and NCPU. `me`, the CPU whose code it is, is
// defined anew before each piece of code, so that contexts of one CPU (task, interrupt, NMI) share its buffer. Acquire
// loads and release stores are plain ones on this machine. Each step is one transition, and says in the replay of a
// counterexample what it did: "@<cpu> text" is read by tools/models.py.
#define DEPTH 2
#ifndef LOCATIONS
#define LOCATIONS 16
#endif

byte mem[LOCATIONS];
byte buffered[NCPU];
byte buf_loc[NCPU * DEPTH], buf_val[NCPU * DEPTH];	// what is not in use is 0, so that equal states look equal

#define OLDEST (me * DEPTH)
#define NEWEST (me * DEPTH + 1)
#define DRAINED (buffered[me] == 0)
// What a load by this CPU finds.
#define VIEW(l) (buffered[me] == 2 && buf_loc[NEWEST] == l -> buf_val[NEWEST] : \
	(buffered[me] > 0 && buf_loc[OLDEST] == l -> buf_val[OLDEST] : mem[l]))

#define SAY(text) printf("@%d ", me); printf(text); printf("\n")

#define LD(l, x) d_step { x = VIEW(l); printf("@%d reads %e: %d\n", me, l, x) }
#define ST(l, v) d_step { buffered[me] < DEPTH -> \
	buf_loc[me * DEPTH + buffered[me]] = l; buf_val[me * DEPTH + buffered[me]] = v; buffered[me]++; \
	printf("@%d stores %e = %d into its buffer\n", me, l, v) }
#define MB() d_step { DRAINED -> SAY("full barrier: its buffer is empty") }
#define AWAIT(l, condition) d_step { condition -> printf("@%d has waited: %e is %d\n", me, l, VIEW(l)) }

#define LOCKED(l, old, new) d_step { DRAINED -> old = mem[l]; mem[l] = new; \
	printf("@%d LOCKed: %e %d -> %d\n", me, l, old, mem[l]) }
#define XCHG(l, new, old) LOCKED(l, old, new)
#define ADD(l, n, old) LOCKED(l, old, mem[l] + n)
#define OR(l, bits, old) LOCKED(l, old, mem[l] | bits)
#define CLEAR(l, bits, old) LOCKED(l, old, mem[l] & (255 - (bits)))
#define CMPXCHG(l, expected, new, done) d_step { DRAINED -> done = (mem[l] == expected); \
	if :: done -> mem[l] = new :: else fi; \
	printf("@%d LOCKed: %e %d -> %d if it is %d: %d\n", me, l, expected, new, expected, done) }

#define me _pid
active [NCPU] proctype store_buffer()
{
end:	do
	:: d_step { buffered[me] > 0 ->
		mem[buf_loc[OLDEST]] = buf_val[OLDEST];
		printf("@%d buffer -> memory: %e = %d\n", me, buf_loc[OLDEST], buf_val[OLDEST]);
		buf_loc[OLDEST] = buf_loc[NEWEST]; buf_val[OLDEST] = buf_val[NEWEST];
		buf_loc[NEWEST] = 0; buf_val[NEWEST] = 0;
		buffered[me]-- }
	od
}
#undef me
