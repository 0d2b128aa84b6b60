// SPDX-License-Identifier: MIT
// Poison and red words of slab objects, see slab_check.h.
#include "mm/frame/slab_check.h"
#include "kernel/lib.h"
#include "mm/frame/page.h"

#if CHECK
#define RED_FREE 0xf4eef4eef4eef4eeull
#define RED_USED 0xa110ca7eda110ca7ull
#define POISON_FREE 0x6b	// an address made of it is not canonical: its use faults
#define POISON_NEW 0x5a		// allocated and not yet written

// Mixed with the address, so that a copied object does not carry a valid one.
static u64 red(const void *obj, u64 state) { return state ^ (uintptr_t)obj; }

static void fill(void *obj, u32 size, u8 byte) { memset(obj, byte, ALIGN_UP(size, (u32)sizeof(u64))); }

static bool poisoned(const void *obj, u32 size)
{
	for (const u64 *w = obj; (const char *)w < (const char *)obj + size; w++)
		if (*w != POISON_FREE * 0x0101010101010101ull)
			return false;
	return true;
}

void slab_check_new(void *obj, u32 size)
{
	fill(obj, size, POISON_FREE);
	WRITE_ONCE(slab_tail(obj, size)->red, red(obj, RED_FREE));
}

bool slab_check_alloc(void *obj, u32 size)
{
	if (!poisoned(obj, size)) {
		alloc_error("object written after it was freed", obj);
		return false;
	}
	if (!cmpxchg(&slab_tail(obj, size)->red, red(obj, RED_FREE), red(obj, RED_USED))) {
		alloc_error("red word of a free object overwritten", obj);
		return false;
	}
	fill(obj, size, POISON_NEW);
	return true;
}

// Poison before the red word says "free": of two frees at once, one loses the exchange and at most fills in what is
// about to be poison anyway.
bool slab_check_free(void *obj, u32 size)
{
	u64 *word = &slab_tail(obj, size)->red, old = READ_ONCE(*word);

	if (old == red(obj, RED_FREE)) {
		alloc_error("double free of an object", obj);
		return false;
	}
	if (old != red(obj, RED_USED)) {
		alloc_error("object overrun", obj);
		return false;
	}
	fill(obj, size, POISON_FREE);
	if (!cmpxchg(word, old, red(obj, RED_FREE))) {
		alloc_error("object freed twice at once", obj);
		return false;
	}
	return true;
}
#endif
