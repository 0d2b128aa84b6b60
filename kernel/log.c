// SPDX-License-Identifier: MIT
// The one printer.
//
// Its lock is a word that holds the owner's number, not a spinlock: spinlocks complain through this file, so it may be
// entered again on the same CPU at any instant, also by an NMI in the middle of a line.
//
//   thread, printer free             take it, print, print what was deferred, release, look once more
//   thread, another CPU prints       wait (for that CPU's line at most, with the console's time-out and its interrupts)
//   IRQs off, or own CPU holds       try once; if taken, leave the text in a deferred slot, which the holder prints
//   panic mode                       the speaker writes at once; all other CPUs are mute
#include "kernel/log.h"
#include "kernel/atomic.h"
#include "kernel/lib.h"
#include "kernel/panic.h"
#include "kernel/preempt.h"
#include <arch/machine.h>

#define NR_DEFERRED 64
#define DEFERRED_MAX 240
#define EARLY_MAX 8192

static u32 printer;		// CPU + 1 of the owner; 0: free
static u32 speaker;		// CPU + 1 in panic mode; otherwise 0
static u32 last_writer;		// the CPU that last owned the printer and wrote
static u32 level_shown = LOG_INFO;

// `line` belongs to the printer's owner. In panic mode the speaker has a line of its own: the owner may have been
// stopped in mid-line.
static char line[LOG_LINE_MAX], panic_line[LOG_LINE_MAX];
static char early[EARLY_MAX];	// text kept back until log_open()
static size_t early_len;
static bool opened;

// Deferred lines, a ring. Producers claim a slot by cmpxchg on head; the printer's owner alone moves tail.
static struct deferred {
	u32 ready;		// store_release by the producer, load_acquire by the owner
	char text[DEFERRED_MAX];
} deferred[NR_DEFERRED];
static u64 deferred_head, deferred_tail, deferred_lost;

struct text {
	const char *prefix, *fmt;
	va_list *ap;
	bool newline;
};

static size_t render(char *buf, size_t size, const struct text *t)
{
	va_list ap;
	size_t n;

	va_copy(ap, *t->ap);
	n = (size_t)ksnprintf(buf, size, "%s", t->prefix);
	n += (size_t)kvsnprintf(buf + n, size - n, t->fmt, ap);
	va_end(ap);
	if (t->newline && n + 1 < size) {
		buf[n++] = '\n';
	} else if (t->newline || n >= size) {	// cut off, but still ended by a newline
		n = size - 1;
		memcpy(buf + n - 5, "[...]", 5);
		buf[n - 1] = '\n';
	}
	return n;
}

static bool printer_try(void) { return cmpxchg(&printer, 0u, cpu_id() + 1); }

static void write_out(const char *s, size_t n)
{
	WRITE_ONCE(last_writer, cpu_id());
	if (!opened && early_len + n <= sizeof(early)) {
		memcpy(early + early_len, s, n);
		early_len += n;
		return;
	}
	if (!opened) {		// too much to keep back: print it before the banner rather than lose it
		opened = true;
		arch_console_write(early, early_len);
	}
	arch_console_write(s, n);
}

static void write_deferred(void)
{
	u64 lost;

	for (struct deferred *d; d = &deferred[deferred_tail % NR_DEFERRED], load_acquire(&d->ready);) {
		write_out(d->text, strnlen(d->text, sizeof(d->text)));
		WRITE_ONCE(d->ready, 0);
		store_release(&deferred_tail, deferred_tail + 1);	// the slot is free: pairs with defer()'s load
	}
	lost = xchg(&deferred_lost, 0ull);
	if (lost) {
		ksnprintf(line, sizeof(line), "# WARN: %llu lines lost\n", (unsigned long long)lost);
		write_out(line, strlen(line));
	}
}

static bool deferred_waiting(void) { return READ_ONCE(deferred[READ_ONCE(deferred_tail) % NR_DEFERRED].ready); }

// Release, then look again: a CPU that deferred a line after write_deferred() saw none found the printer still taken.
// The exchange is a full barrier; it pairs with the cmpxchg of printer_try() after the slot's `ready` in print().
static void printer_release(void)
{
	do {
		write_deferred();
		xchg(&printer, 0u);
	} while (deferred_waiting() && printer_try());
}

// The CPU that wrote last: when it goes idle, it may be the only CPU that still has a tick.
bool log_needs_tick(void) { return arch_console_pending() && READ_ONCE(last_writer) == cpu_id(); }

void log_tick(void)
{
	if (likely(!arch_console_pending()) || READ_ONCE(speaker) || !printer_try())
		return;
	arch_console_push();
	printer_release();
}

static bool defer(const struct text *t)
{
	for (;;) {
		u64 head = READ_ONCE(deferred_head);
		struct deferred *d = &deferred[head % NR_DEFERRED];

		if (head - load_acquire(&deferred_tail) >= NR_DEFERRED) {
			fetch_add(&deferred_lost, 1);
			return false;
		}
		if (!cmpxchg(&deferred_head, head, head + 1))
			continue;
		render(d->text, sizeof(d->text), t);
		store_release(&d->ready, 1u);
		return true;
	}
}

static void print(const struct text *t)
{
	u32 mine, speaking = READ_ONCE(speaker);

	preempt_disable();
	mine = cpu_id() + 1;
	if (speaking) {
		if (speaking == mine)
			arch_console_write(panic_line, render(panic_line, sizeof(panic_line), t));
	} else if (printer_try()) {
		write_out(line, render(line, sizeof(line), t));
		printer_release();
	} else if (!irqs_enabled() || READ_ONCE(printer) == mine) {
		// Do not wait, not even in a thread: the holder's interrupts may spin for a lock that this CPU holds.
		if (defer(t) && printer_try())
			printer_release();
	} else {
		while (!printer_try() && !READ_ONCE(speaker))
			cpu_relax();
		if (READ_ONCE(printer) == mine) {
			write_out(line, render(line, sizeof(line), t));
			printer_release();
		}
	}
	preempt_enable();
}

// May wait for the printer: a caller that may sleep holds neither the printer nor a lock that an interrupt on its
// holder's CPU may wait for.
void log_write(const char *text, size_t n)
{
	ASSERT_MAY_SLEEP();
	preempt_disable();
	while (!printer_try() && !READ_ONCE(speaker))
		cpu_relax();
	if (READ_ONCE(printer) == cpu_id() + 1) {
		write_out(text, n);
		printer_release();
	}
	preempt_enable();
}

void kvprintf(const char *fmt, va_list ap)
{
	va_list copy;

	va_copy(copy, ap);	// `ap` is a pointer here: take the address of a real va_list
	print(&(struct text){ .prefix = "", .fmt = fmt, .ap = &copy });
	va_end(copy);
}

void kprintf(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	print(&(struct text){ .prefix = "", .fmt = fmt, .ap = &ap });
	va_end(ap);
}

void klog(enum loglevel level, const char *fmt, ...)
{
	static const char *const prefix[] = { "# ERROR: ", "# WARN: ", "# INFO: ", "# DEBUG: " };
	va_list ap;

	if (level > READ_ONCE(level_shown))
		return;
	va_start(ap, fmt);
	print(&(struct text){ .prefix = prefix[level], .fmt = fmt, .ap = &ap, .newline = true });
	va_end(ap);
}

void log_set_level(enum loglevel level)
{
	WRITE_ONCE(level_shown, level);
	if (level == LOG_DEBUG)
		log_open("");	// to debug an early hang, each line is needed at once
}

static void open_printer(const char *first)
{
	if (!opened) {
		opened = true;
		arch_console_write(first, strlen(first));
		arch_console_write(early, early_len);
	} else if (*first) {
		arch_console_write(first, strlen(first));
	}
}

void log_open(const char *first)
{
	preempt_disable();
	while (!printer_try())
		cpu_relax();
	open_printer(first);
	printer_release();
	preempt_enable();
}

void log_panic_mode(void)
{
	u32 before = xchg(&speaker, cpu_id() + 1);

	if (before)
		return;
	// Give another CPU time to end the line that it has begun, but not for ever: it may be the CPU that is stuck.
	for (u32 i = 0; i < 10000000 && READ_ONCE(printer) && READ_ONCE(printer) != cpu_id() + 1; i++)
		cpu_relax();
	arch_console_drain(100 * NSEC_PER_MSEC);	// make room for what follows; but the other CPUs still run
	if (!opened)
		open_printer("");
	write_deferred();
}
