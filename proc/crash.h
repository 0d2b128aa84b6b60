// SPDX-License-Identifier: MIT
// What the console says when a signal ends a program.
#pragma once

struct task;
struct user_siginfo;

// One line, and for what may be a bug of the program its registers. The task is the caller. `unhandled`: the signal
// whose handler could not be run because its frame did not fit on the stack, or 0.
void crash_print(struct task *t, const struct user_siginfo *info, unsigned unhandled);
