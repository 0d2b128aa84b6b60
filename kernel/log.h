// SPDX-License-Identifier: MIT
// The one printer. It alone writes to the console; everything else goes through it. Any context: in an interrupt or NMI
// the printer is taken by try-lock and, if that fails, the text waits in a small buffer that the holder prints.
#pragma once
#include "kernel/types.h"

enum loglevel { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

// Unprefixed text (banner, KTAP, BENCH, VERDICT lines). One call is printed in one piece, up to LOG_LINE_MAX bytes.
#define LOG_LINE_MAX 4096
void kprintf(const char *fmt, ...) __printf(1, 2);
void kvprintf(const char *fmt, va_list ap);
// Text of any length, printed in one piece: for what is too long for kprintf(). Only where the caller may sleep.
void log_write(const char *text, size_t n);
// "# LEVEL: text": a KTAP diagnostic line, dropped above the command line's loglevel=. A newline is added.
void klog(enum loglevel level, const char *fmt, ...) __printf(2, 3);
#define log_error(...) klog(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) klog(LOG_WARN, __VA_ARGS__)
#define log_info(...) klog(LOG_INFO, __VA_ARGS__)
#define log_debug(...) klog(LOG_DEBUG, __VA_ARGS__)
void log_set_level(enum loglevel level);
// Until this is called all text is kept back, so that the banner is the first line although it is known late. `first`
// is printed before the text that was kept back. A panic, kernel_exit() and loglevel=debug open the printer too.
void log_open(const char *first);
// The tick: give the console what it has not taken yet. IRQs off.
void log_tick(void);
bool log_needs_tick(void);	// must this CPU keep its tick for that?
// From now on this CPU alone prints, without locks: it owns the machine (panic, exit).
void log_panic_mode(void);
