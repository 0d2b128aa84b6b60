// SPDX-License-Identifier: MIT
// Types and small macros that every file uses.
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;
typedef int64_t s64;
typedef u64 paddr_t;	// a physical address
typedef u64 vaddr_t;	// a virtual address of the user half

#define NR_CPUS 256	// upper limit; xAPIC allows 255
#define CACHE_LINE 64

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(p, type, member) ((type *)((char *)(p) - offsetof(type, member)))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define __aligned(n) __attribute__((aligned(n)))
#define __cacheline __attribute__((aligned(CACHE_LINE)))
#define __noinline __attribute__((noinline))
#define __hot __attribute__((hot))	// on the path of an unmap or a map: laid out together (linker.ld)
#undef __always_inline
#define __always_inline inline __attribute__((always_inline))
#define __unused __attribute__((unused))
#define __printf(f, a) __attribute__((format(printf, f, a)))
#define MIN(a, b) ({ typeof(a) _a = (a); typeof(b) _b = (b); _a < _b ? _a : _b; })
#define MAX(a, b) ({ typeof(a) _a = (a); typeof(b) _b = (b); _a > _b ? _a : _b; })
#define ALIGN_UP(x, a) (((x) + (a) - 1) & ~((typeof(x))(a) - 1))
#define ALIGN_DOWN(x, a) ((x) & ~((typeof(x))(a) - 1))
#define NSEC_PER_SEC 1000000000ull
#define NSEC_PER_MSEC 1000000ull
#define NSEC_PER_USEC 1000ull

// Registration: put a pointer to `obj` into the linker section `sec` (a C identifier, so that ld makes
// __start_sec and __stop_sec). FOR_EACH_REGISTERED walks it.
#define REGISTER(sec, obj) \
	static typeof(&(obj)) const __reg_##sec##_##obj __attribute__((used, retain, section(#sec))) = &(obj)
#define REGISTERED_EDGE(edge, sec, type) ({ extern type *const __##edge##_##sec[] __attribute__((weak)); __##edge##_##sec; })
// In order of registration: the compiler emits a file's variables in reverse.
#define FOR_EACH_REGISTERED(sec, type, it) \
	for (type *const *const it##_first = REGISTERED_EDGE(start, sec, type), *const *it = REGISTERED_EDGE(stop, sec, type); \
	     it-- > it##_first;)

// Is this the checking build? CHECK is 0 or 1 and set by the Makefile.
#ifndef CHECK
#define CHECK 0
#endif
