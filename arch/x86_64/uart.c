// SPDX-License-Identifier: MIT
// A 16550 UART, polled.
#include "arch/x86_64/uart.h"
#include "arch/x86_64/io.h"

enum { REG_DATA = 0, REG_IER = 1, REG_IIR = 2, REG_FCR = 2, REG_LCR = 3, REG_MCR = 4, REG_LSR = 5, REG_SCRATCH = 7 };
enum { LCR_8N1 = 0x03, LCR_DIVISOR = 0x80, FCR_ON_CLEAR = 0x07, IIR_FIFO_WORKS = 0xc0, FIFO_DEPTH = 16, MCR_DTR_RTS_OUT2 = 0x0b };
enum { LSR_DATA = 0x01, LSR_CAN_SEND = 0x20, LSR_ALL_SENT = 0x40 };

static u16 base;
static u32 depth;	// characters that it takes when it says that it can send

static bool answers(u16 p)
{
	outb(p + REG_SCRATCH, 0x5a);
	if (inb(p + REG_SCRATCH) != 0x5a)
		return false;
	outb(p + REG_SCRATCH, 0xa5);
	return inb(p + REG_SCRATCH) == 0xa5 && inb(p + REG_LSR) != 0xff;
}

static u32 uart_room(void) { return inb(base + REG_LSR) & LSR_CAN_SEND ? depth : 0; }
static void uart_put(u8 c) { outb(base + REG_DATA, c); }
static bool uart_all_sent(void) { return inb(base + REG_LSR) & LSR_ALL_SENT; }
static int uart_getc(void) { return inb(base + REG_LSR) & LSR_DATA ? inb(base + REG_DATA) : -1; }

struct serial_port uart = {
	.room = uart_room, .put = uart_put, .all_sent = uart_all_sent, .getc = uart_getc, .slowness = 1,
};

bool uart_open(u16 p, u32 baud)
{
	u32 divisor = UART_MOST_BAUD / baud;

	if (!answers(p))
		return false;
	outb(p + REG_IER, 0);
	outb(p + REG_LCR, LCR_DIVISOR);
	outb(p + REG_DATA, (u8)divisor);
	outb(p + REG_IER, (u8)(divisor >> 8));
	outb(p + REG_LCR, LCR_8N1);
	outb(p + REG_FCR, FCR_ON_CLEAR);
	depth = (inb(p + REG_IIR) & IIR_FIFO_WORKS) == IIR_FIFO_WORKS ? FIFO_DEPTH : 1;
	outb(p + REG_MCR, MCR_DTR_RTS_OUT2);
	base = p;
	uart.slowness = divisor;
	return true;
}
