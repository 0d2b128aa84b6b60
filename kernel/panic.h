// SPDX-License-Identifier: MIT
// Giving up, and the checks that lead there.
#pragma once
#include "kernel/types.h"

// Print the message, registers if known, this CPU's backtrace, stop the other CPUs by NMI, print the backtrace of each,
// and exit with EXIT_PANIC. Any context; the first caller wins, later ones stop.
_Noreturn void panic(const char *fmt, ...) __printf(1, 2);
bool panic_in_progress(void);	// or kernel_exit(); once true, it stays true
bool panic_is_mine(void);	// this CPU is the one that panics or exits
// Called by arch's NMI handler when panic_in_progress(), but not panic_is_mine(): record this CPU's backtrace for the
// CPU that panics, and never return. The CPU that panics runs no NMI handlers and goes on.
_Noreturn void panic_stop_this_cpu(void);

// A condition that does not stop the kernel but makes the run fail (counted; the last line's status shows it).
void warn_at(const char *file, int line, const char *what);
u64 warn_count(void);
#define WARN_ON(c) ({ bool _c = !!(c); if (unlikely(_c)) warn_at(__FILE__, __LINE__, #c); unlikely(_c); })
#define BUG_ON(c) do { if (unlikely(c)) panic("BUG: %s at %s:%d", #c, __FILE__, __LINE__); } while (0)
// Checking builds only; the expression must have no side effect.
#define ASSERT(c) do { if (CHECK && unlikely(!(c))) panic("ASSERT: %s at %s:%d", #c, __FILE__, __LINE__); } while (0)

enum { EXIT_OK = 0, EXIT_TESTS_FAILED = 1, EXIT_BAD_INPUT = 2, EXIT_PANIC = 3, EXIT_INCONCLUSIVE = 4 };
// Print "quiesce: exit N" as the last line and leave the machine with that status. IRQs either way. Of panics
// and exits the first decides the status; a CPU that comes later stops.
_Noreturn void kernel_exit(int status);
