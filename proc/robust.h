// SPDX-License-Identifier: MIT
// What a task leaves behind: its robust list, and the word that says that it has ended (set_robust_list(2),
// set_tid_address(2)).
#pragma once

struct task;

#define ROBUST_HEAD_SIZE 24	// of Linux's struct robust_list_head

// The end of a task, which still runs in its space; thread context, no lock held. Marks each futex of its robust list as
// its owner's death leaves it, and wakes a waiter of each; then stores 0 at clear_tid, and wakes one there.
void futex_task_ends(struct task *t);
