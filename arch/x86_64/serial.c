// SPDX-License-Identifier: MIT
// The serial line: a 16550 UART, polled. A port where no UART answers is written to no more; every wait is bounded.
#include "arch/x86_64/io.h"
#include "arch/x86_64/serial.h"
#include "kernel/atomic.h"
#include "kernel/cmdline.h"
#include "kernel/lib.h"

enum { REG_DATA = 0, REG_IER = 1, REG_FCR = 2, REG_LCR = 3, REG_MCR = 4, REG_LSR = 5, REG_SCRATCH = 7 };
enum { LCR_8N1 = 0x03, LCR_DIVISOR = 0x80, FCR_ON_CLEAR = 0x07, MCR_DTR_RTS_OUT2 = 0x0b };
enum { LSR_DATA = 0x01, LSR_CAN_SEND = 0x20, LSR_ALL_SENT = 0x40 };
#define BAUD_BASE 115200
// Polls of a port, which cost about 1 us each. Sixteen characters at 9600 baud take 20,000; but whoever reads an emulated port may
// not be run by his host for a while, and must not lose the rest of the log for that.
#define PATIENCE 20000000

static u16 port = 0x3f8;
static bool present;

static bool answers(u16 p)
{
	outb(p + REG_SCRATCH, 0x5a);
	if (inb(p + REG_SCRATCH) != 0x5a)
		return false;
	outb(p + REG_SCRATCH, 0xa5);
	return inb(p + REG_SCRATCH) == 0xa5 && inb(p + REG_LSR) != 0xff;
}

static bool open_port(u16 p, u32 baud)
{
	u16 divisor = (u16)(BAUD_BASE / baud);

	if (!answers(p))
		return false;
	outb(p + REG_IER, 0);
	outb(p + REG_LCR, LCR_DIVISOR);
	outb(p + REG_DATA, (u8)divisor);
	outb(p + REG_IER, (u8)(divisor >> 8));
	outb(p + REG_LCR, LCR_8N1);
	outb(p + REG_FCR, FCR_ON_CLEAR);
	outb(p + REG_MCR, MCR_DTR_RTS_OUT2);
	return true;
}

static bool wait_for(u8 bit)
{
	for (u32 i = 0; i < PATIENCE; i++) {
		if (inb(port + REG_LSR) & bit)
			return true;
		cpu_relax();
	}
	return false;
}

// A UART that takes nothing for that long (flow control, unplugged) is given up, or each character would cost as much.
static void send(char c)
{
	if (!wait_for(LSR_CAN_SEND))
		present = false;
	else
		outb(port, (u8)c);
}

void serial_init(void) { present = open_port(port, BAUD_BASE); }

void serial_drain(void)
{
	if (present)
		wait_for(LSR_ALL_SENT);
}

void serial_write(const char *s, size_t n)
{
	for (size_t i = 0; i < n && present; i++) {
		if (s[i] == '\n')
			send('\r');
		send(s[i]);
	}
}

int serial_getc(void)
{
	return present && inb(port + REG_LSR) & LSR_DATA ? inb(port) : -1;
}

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
	if (!parse_u64(comma + 1, &baud) || !baud || baud > BAUD_BASE || BAUD_BASE % baud || BAUD_BASE / baud > 0xffff)
		return "not a baud rate of a 16550";
	serial_drain();
	if (!open_port((u16)p, (u32)baud))
		return "no UART answers there";
	port = (u16)p;
	present = true;
	return NULL;
}
CMDLINE_KEY(serial, "PORT,BAUD with a 16550 at PORT, e.g. 0x3f8,115200 or 0x2f8,9600; BAUD divides 115200", set_serial);
