// SPDX-License-Identifier: MIT
// What the calls on memory have in common: Linux's numbers, where a program may map, and what is done to regions as a
// program means it.
#pragma once
#include "kernel/thread.h"
#include "mm/map.h"
#include "mm/range.h"
#include "mm/region.h"
#include "proc/stack.h"
#include "sys/syscall.h"

#define USER_LIMIT STACK_TOP		// Linux's TASK_SIZE: the last page of the user half is nobody's
#define MMAP_LOWEST USER_LOWEST
#define MMAP_HIGHEST (STACK_TOP - (128ull << 20) - (1ull << 20))	// leaves room for a stack that its limit lets grow

enum {
	LINUX_PROT_READ = 1, LINUX_PROT_WRITE = 2, LINUX_PROT_EXEC = 4, LINUX_PROT_SEM = 8,
	LINUX_PROT_GROWSDOWN = 0x01000000, LINUX_PROT_GROWSUP = 0x02000000,
};

// What the processor makes of Linux's protection: whatever may be written or executed may be read.
static inline unsigned prot_from_linux(u64 prot)
{
	return (prot & LINUX_PROT_WRITE ? PROT_W : 0) | (prot & LINUX_PROT_EXEC ? PROT_X : 0) |
	       (prot & (LINUX_PROT_READ | LINUX_PROT_WRITE | LINUX_PROT_EXEC) ? PROT_R : 0);
}

// An operation cannot split a collapsed page that is pinned. A pin ends within some system call, so the operation is tried
// until it can: Linux knows no such error. A task that is to end gives up: -EINTR, which no program sees. No lock is held.
#define WHILE_BUSY(op) ({ \
	s64 _result; \
	while ((_result = (op)) == -EBUSY && try_later()) \
		; \
	_result == -EBUSY ? -EINTR : _result; })
bool try_later(void);			// sleeps a little; false: the task is to end

bool may_expand(struct task *t, u64 len);	// within RLIMIT_AS?
u8 future_flags(struct task *t);		// region flags of what is mapped from now on (mlockall)
// Bring in what has just been mapped, as far as it can be: no error, as on Linux.
void bring_in_quietly(struct space *s, vaddr_t va, u64 len, unsigned prot);
// The same, if a region's flags ask for it.
void bring_in_locked(struct space *s, vaddr_t va, u64 len, unsigned prot, u8 flags);
