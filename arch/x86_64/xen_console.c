// SPDX-License-Identifier: MIT
// The console of a guest of Xen that has no serial port: a page shared with a program in dom0 (xenconsoled), with a ring
// for each direction (xen/include/public/io/console.h), and an event channel by which each side tells the other that it
// has read or written.
//
//   us                                       xenconsoled
//   --                                       -----------
//   out[out_prod % SIZE] = c                 reads out_prod (acquire)
//   out_prod++ (full barrier)     ────>      reads the characters
//   reads out_cons (acquire)      <────      out_cons = … (release)
//
// The other ring is the same with the sides exchanged: we read in_prod (acquire), then the character, and give its place
// back by in_cons (release).
#include "arch/x86_64/xen_console.h"
#include "arch/x86_64/kmap.h"
#include "arch/x86_64/xen.h"
#include "kernel/atomic.h"

enum { PARAM_CONSOLE_PAGE = 17, PARAM_CONSOLE_EVENT = 18 };	// HVM_PARAM_CONSOLE_PFN, …_EVTCHN
#define IN_SIZE 1024u
#define OUT_SIZE 2048u

struct rings {
	char in[IN_SIZE], out[OUT_SIZE];
	u32 in_cons, in_prod, out_cons, out_prod;	// they wrap
};
static struct rings *rings;
static paddr_t page;
static u32 event;

static void xen_console_notify(void)
{
	struct { u32 event; } send = { event };

	xen_hypercall(XEN_EVENT_OP, XEN_EVENT_SEND, (uintptr_t)&send, 0);
}

static u32 xen_console_room(void)
{
	return rings ? OUT_SIZE - (READ_ONCE(rings->out_prod) - load_acquire(&rings->out_cons)) : 0;
}

// The speaker in panic mode may be here beside the printer's owner (serial.c): the index never goes back.
static void xen_console_put(u8 c)
{
	u32 at;

	do {
		at = READ_ONCE(rings->out_prod);
		rings->out[at % OUT_SIZE] = (char)c;
	} while (!cmpxchg(&rings->out_prod, at, at + 1));
}

static bool xen_console_all_sent(void) { return !rings || load_acquire(&rings->out_cons) == READ_ONCE(rings->out_prod); }

static int xen_console_getc(void)
{
	u32 at;
	u8 c;

	if (!rings)
		return -1;
	at = rings->in_cons;
	if (load_acquire(&rings->in_prod) == at)
		return -1;
	c = (u8)rings->in[at % IN_SIZE];
	store_release(&rings->in_cons, at + 1);
	xen_console_notify();
	return c;
}

const struct serial_port xen_console = {
	.room = xen_console_room, .put = xen_console_put, .notify = xen_console_notify, .all_sent = xen_console_all_sent,
	.getc = xen_console_getc, .slowness = 1,
};

bool xen_console_open(void)
{
	if (!xen_present())
		return false;
	page = xen_hvm_param(PARAM_CONSOLE_PAGE) << PAGE_SHIFT;
	event = (u32)xen_hvm_param(PARAM_CONSOLE_EVENT);
	rings = page && page < FIRST_TABLES_MAP && event ? phys_to_virt(page) : NULL;
	return rings;
}

void xen_console_map(void)
{
	if (rings)
		rings = arch_map_shared(page, PAGE_SIZE);
}
