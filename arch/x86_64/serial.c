// SPDX-License-Identifier: MIT
// The serial line: a port (serial_port.h), polled, behind a ring. Every wait is bounded.
//
//   the port sends              a write lasts until all of it has left: a hang just behind it hides nothing, and nothing
//                               is sent later, in the middle of a measurement
//   it takes nothing (stalled)  what is left stays in the ring and the CPU goes on; later writes and the tick try again
//   the ring is full            a write waits for PATIENCE_NS, but not in an interrupt; then it drops characters until
//                               half of the ring is free, and "# console: N characters lost here" takes their place
//
// One CPU at a time is here, the printer's owner. Only the speaker in panic mode does not wait for an owner, which may
// be stuck: the two indices change atomically, so that at worst the text is garbled.
#include "arch/x86_64/serial.h"
#include "arch/x86_64/uart.h"
#include "arch/x86_64/xen_console.h"
#include "kernel/atomic.h"
#include "kernel/cmdline.h"
#include "kernel/lib.h"
#include "kernel/panic.h"
#include "kernel/time.h"
#include <arch/irq.h>

#define FIRST_PORT 0x3f8
#define RING (64u << 10)
#define NOTE_MAX 64u			// "# console: …", with line ends
#define TICK_MOST (RING / 64)		// characters that one tick sends
// A port that sends takes the next characters when it has sent those before, 1.4 ms for a full FIFO at 115200 baud. An
// emulated port takes none while its reader pauses.
#define STALL_NS (5 * NSEC_PER_MSEC)	// times the port's slowness
#define PATIENCE_NS (5 * NSEC_PER_SEC)	// of a whole write, beside the time for its characters: other CPUs may wait
#define CHARACTER_NS (200 * NSEC_PER_USEC)	// the same: twice what one needs
#define SEEN_NS NSEC_PER_MSEC		// of the time between two polls at most so much counts
#define POLLS_MAX 1000000		// while the clock does not run yet …
#define POLLS_EVER 1000000000		// … and where it has stopped

static const struct serial_port *port;	// NULL: none
static char ring[RING], last = '\n';	// the last one put in
static u32 head, tail;			// put in, sent; they wrap
static bool stalled;			// the last wait for it, up to STALL_NS, was in vain
static bool given_up;			// … and one of PATIENCE_NS, too
static u64 lost;			// characters, behind the last one put in

static u32 waiting(void) { return READ_ONCE(head) - READ_ONCE(tail); }

// Send what the port takes now, and return how much that may be; 0: it takes nothing.
static u32 push(void)
{
	u32 room = port->room();

	if (!room)
		return 0;
	stalled = false;
	given_up = given_up && waiting() > RING / 2;
	for (u32 i = 0; i < room; i++) {
		u32 at = READ_ONCE(tail);	// before `head`, which it never passes

		if (at == READ_ONCE(head))
			break;
		if (cmpxchg(&tail, at, at + 1))
			port->put((u8)ring[at % RING]);
	}
	if (port->notify)
		port->notify();
	return room;
}

// Send until no more than `most` characters are waiting. False: `waited`, which earlier waits may have begun, exceeds
// patience_ns.
static bool push_until(u32 most, struct seen *waited, u64 patience_ns)
{
	for (u32 polls = 0; waiting() > most; polls++) {
		if (push())
			continue;
		if (seen_look(waited, SEEN_NS) > patience_ns || polls > (waited->looked ? POLLS_EVER : POLLS_MAX))
			return false;
		cpu_relax();
	}
	return true;
}

// Send until no character is waiting. False: the port has taken nothing for patience_ns.
static bool push_while_it_sends(u64 patience_ns)
{
	struct seen waited;
	u32 before;

	do {
		before = READ_ONCE(tail);
		waited = SEEN_FROM_NOW;
		if (push_until(0, &waited, patience_ns))
			return true;
	} while (READ_ONCE(tail) != before);
	return false;
}

// Is there room for n more characters? Does not wait where interrupts are off: another CPU may be waiting for this one.
static bool room_for(u32 n, struct seen *waited, u64 patience_ns)
{
	if (waiting() + n <= RING)
		return true;
	push();
	if (!given_up && (irqs_enabled() || panic_in_progress()))
		given_up = !push_until(RING - n, waited, patience_ns);
	return waiting() + n <= RING;
}

static void put(char c)
{
	if (c == '\n')
		put('\r');
	ring[fetch_add(&head, 1u) % RING] = c;
	last = c;
}

static void tell_lost(void)
{
	char note[NOTE_MAX];

	ksnprintf(note, sizeof(note), "%s# console: %llu characters lost here\n", last == '\n' ? "" : "\n",
		  (unsigned long long)lost);
	lost = 0;
	for (const char *s = note; *s; s++)
		put(*s);
}

void serial_init(void)
{
	if (uart_open(FIRST_PORT, UART_MOST_BAUD))
		port = &uart;
	else if (xen_console_open())
		port = &xen_console;
}

void serial_write(const char *s, size_t n)
{
	struct seen waited = SEEN_FROM_NOW;
	u64 patience_ns;
	size_t i = 0;

	if (!port)
		return;
	patience_ns = PATIENCE_NS + n * CHARACTER_NS * port->slowness;
	if (lost && !given_up && room_for(NOTE_MAX, &waited, patience_ns))
		tell_lost();
	while (i < n && !lost && room_for(2, &waited, patience_ns))
		put(s[i++]);
	lost += n - i;
	if (!stalled || push())
		stalled = !push_while_it_sends(MIN(STALL_NS * port->slowness, PATIENCE_NS));
}

bool serial_pending(void) { return waiting() || READ_ONCE(lost); }

void serial_push(void)
{
	for (u32 sent = 0, room = 1; sent < TICK_MOST && waiting() && room; sent += room)
		room = push();
	if (lost && !given_up && waiting() + NOTE_MAX <= RING)
		tell_lost();
}

// What the port has taken may still lie in it: in a FIFO, or in a ring that another virtual machine reads.
static void wait_all_sent(u64 patience_ns)
{
	struct seen waited = SEEN_FROM_NOW;

	for (u32 polls = 0; !port->all_sent(); polls++) {
		if (seen_look(&waited, SEEN_NS) > patience_ns || polls > (waited.looked ? POLLS_EVER : POLLS_MAX))
			return;
		cpu_relax();
	}
}

void serial_drain(u64 patience_ns)
{
	if (!port || !push_while_it_sends(patience_ns))
		return;
	if (lost)
		tell_lost();
	if (push_while_it_sends(patience_ns))
		wait_all_sent(patience_ns);
}

int serial_getc(void) { return port ? port->getc() : -1; }

// "PORT,BAUD"
static const char *set_serial(const char *value)
{
	char number[16];
	const char *comma = strchr(value, ',');
	u64 p, baud;

	if (!comma || (size_t)(comma - value) >= sizeof(number))
		return "not of the form PORT,BAUD";
	memcpy(number, value, (size_t)(comma - value));
	number[comma - value] = '\0';
	if (!parse_u64(number, &p) || p < 0x100 || p > 0xfff8)
		return "not an I/O port";
	if (!parse_u64(comma + 1, &baud) || !baud || baud > UART_MOST_BAUD || UART_MOST_BAUD % baud ||
	    UART_MOST_BAUD / baud > 0xffff)
		return "not a baud rate of a 16550";
	serial_drain(PATIENCE_NS);
	if (!uart_open((u16)p, (u32)baud))
		return "no UART answers there";
	port = &uart;
	return NULL;
}
CMDLINE_KEY(serial, "PORT,BAUD (the 16550 to use, e.g. 0x2f8,9600; BAUD divides 115200; default 0x3f8,115200)",
	    set_serial);
