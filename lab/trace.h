// SPDX-License-Identifier: MIT
// The trace: what happened when on which CPU, in a ring per CPU. trace() may be called in any context, NMI included, and
// costs a NOP while recording is off (docs/tracing.md has the figures).
#pragma once
#include "kernel/types.h"
#include <arch/branch.h>

// Name, phase (B begin, E end, i an instant), what `arg` is. A B and the next E of the same name on the same CPU belong
// together. The names are an interface (docs/reference.md).
#define TRACE_EVENTS(X) \
	X(UNMAP_BEGIN, "unmap", 'B')			/* address */ \
	X(UNMAP_END, "unmap", 'E') \
	X(FLUSH_BEGIN, "flush", 'B')			/* the first address */ \
	X(FLUSH_END, "flush", 'E')			/* 1: left to the other CPUs' sweeps */ \
	X(IPI_SENT, "ipi_sent", 'i')			/* the target */ \
	X(IPI_BEGIN, "ipi", 'B')			/* received: cross-CPU calls */ \
	X(IPI_END, "ipi", 'E') \
	X(IPI_ACKED, "ipi_acked", 'i')			/* the sender is told that one call is done */ \
	X(NMI_SENT, "nmi_sent", 'i')			/* the target */ \
	X(NMI_BEGIN, "nmi", 'B')			/* received: the flush by NMI */ \
	X(NMI_END, "nmi", 'E')				/* and acknowledged */ \
	X(PV_FLAGGED, "pv_flagged", 'i')		/* the preempted CPU, told to flush before it runs again */ \
	X(SWEEP, "sweep", 'i')				/* flushed, for all that was deferred before */ \
	X(WALK_BEGIN, "walk", 'B')			/* address */ \
	X(WALK_END, "walk", 'E')			/* pages pinned */ \
	X(TABLE_KEPT, "table_kept", 'i')		/* these five: trace_table() */ \
	X(TABLE_UNLINKED, "table_unlinked", 'i') \
	X(TABLE_FLUSHED, "table_flushed", 'i') \
	X(TABLE_QUIESCED, "table_quiesced", 'i') \
	X(TABLE_FREED, "table_freed", 'i') \
	X(GP_BEGIN, "grace_period", 'B')		/* its number */ \
	X(GP_END, "grace_period", 'E') \
	X(EXPEDITED_BEGIN, "expedited", 'B') \
	X(EXPEDITED_END, "expedited", 'E') \
	X(QUIESCENT, "quiescent", 'i')			/* which CPU's bit a grace period need not wait for any more */ \
	X(THEFT_BEGIN, "theft", 'B')			/* the thief preempts the CPU */ \
	X(THEFT_END, "theft", 'E')			/* the CPU runs again, flushed if it was flagged */ \
	X(SWITCH_BEGIN, "switch", 'B')			/* of policy or back-end */ \
	X(SWITCH_STATE, "switch_state", 'i')		/* its index in switch_states[] (mm/policy/switch.c) */ \
	X(SWITCH_END, "switch", 'E')

enum trace_event {
#define X(id, name, phase) EV_##id,
	TRACE_EVENTS(X)
#undef X
	NR_TRACE_EVENTS
};

struct trace_record {
	u64 cycles;		// cycles() of the CPU that wrote it
	u64 n;			// how many that CPU had begun before, since trace_start()
	u64 arg;
	u32 cpu;
	enum trace_event event;
};

// The hook. (TRACE_HOOKS=0: a kernel without any, to measure what they cost.)
#ifndef TRACE_HOOKS
#define TRACE_HOOKS 1
#endif
#define trace(event, arg) do { \
	if (TRACE_HOOKS && arch_branch_on()) \
		arch_branch_call((event), (u64)(arg)); \
} while (0)
// A table's way through its life, by the state that it has reached: its address, and its level in the lowest bits.
#define trace_table(state, pa, level) trace(EV_TABLE_KEPT + (state) - TABLE_LIVE, (pa) | (level))

#define TRACE_RECORDS 4096	// per CPU; older ones are overwritten

// Begin: all rings empty. False: no memory for them. Stop: on return no CPU is writing. Thread context, may sleep; one
// caller at a time. Starting twice, or stopping twice, has no further effect.
bool trace_start(void);
void trace_stop(void);
bool trace_recording(void);
// A CPU's records that are whole, in order of time; returns how many: at most TRACE_RECORDS, or as many as were written
// since trace_start(). Any time, but what is being written meanwhile is missing.
unsigned trace_read(unsigned cpu, struct trace_record *out);
u64 trace_written(unsigned cpu);	// records begun since trace_start(), overwritten ones included
u64 trace_dropped(unsigned cpu);	// of these never written, see trace.c
const char *trace_name(enum trace_event event);
char trace_phase(enum trace_event event);
// For a panic or a stall: the CPU's last records, newest last. Any context; nothing if nothing has ever been recorded.
void trace_print_last(unsigned cpu, unsigned most);
