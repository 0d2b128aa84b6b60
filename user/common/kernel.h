// SPDX-License-Identifier: MIT
// Linux's numbers and structures that not every C library's headers have (musl-gcc sees no <linux/…>).
#pragma once
#include <stdint.h>
#include <sys/syscall.h>

enum {
	FUTEX_WAIT, FUTEX_WAKE, FUTEX_FD, FUTEX_REQUEUE, FUTEX_CMP_REQUEUE, FUTEX_WAKE_OP, FUTEX_LOCK_PI, FUTEX_UNLOCK_PI,
	FUTEX_TRYLOCK_PI, FUTEX_WAIT_BITSET, FUTEX_WAKE_BITSET,
	FUTEX_PRIVATE = 128, FUTEX_CLOCK_REALTIME = 256,
};
enum { FUTEX_OP_SET, FUTEX_OP_ADD, FUTEX_OP_OR, FUTEX_OP_ANDN, FUTEX_OP_XOR, FUTEX_OP_ARG_SHIFT = 8 };
enum { FUTEX_CMP_EQ, FUTEX_CMP_NE, FUTEX_CMP_LT, FUTEX_CMP_LE, FUTEX_CMP_GT, FUTEX_CMP_GE };
#define FUTEX_OPERATION(op, arg, cmp, with) \
	((uint32_t)(op) << 28 | (uint32_t)(cmp) << 24 | ((uint32_t)(arg) & 0xfff) << 12 | ((uint32_t)(with) & 0xfff))
#define FUTEX_ANY 0xffffffffu
#define FUTEX_OWNER_DIED 0x40000000u
#define FUTEX_HAS_WAITERS 0x80000000u
#define FUTEX_TID 0x3fffffffu

struct robust_node {
	struct robust_node *next;
};
struct robust_head {
	struct robust_node list;
	long offset;			// from a node to its futex
	struct robust_node *pending;
};

struct clone_arguments {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};

enum { ADVICE_FREE = 8, ADVICE_COLLAPSE = 25, ADVICE_POPULATE_READ = 22, ADVICE_POPULATE_WRITE = 23 };
enum { REMAP_MAYMOVE = 1, REMAP_FIXED = 2 };
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
enum { ARCH_SET_GS_ = 0x1001, ARCH_SET_FS_ = 0x1002, ARCH_GET_FS_ = 0x1003, ARCH_GET_GS_ = 0x1004 };
enum { MEMBARRIER_QUERY = 0, MEMBARRIER_PRIVATE = 8, MEMBARRIER_REGISTER_PRIVATE = 16 };
#ifndef SYS_clone3
#define SYS_clone3 435
#endif
#ifndef SYS_rseq
#define SYS_rseq 334
#endif
