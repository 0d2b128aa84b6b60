// SPDX-License-Identifier: MIT
// Random bytes: ChaCha20 with a key that each use replaces.
//
//	key -- block --> | new key, 32 bytes | key of this request, 32 bytes | -- block, block, ... --> its bytes
//
// So the key that is kept says nothing about what was given before. What enters the key (`stir`) is exclusive-ored to
// it, and the key is then replaced in the same way. No input, not even one that is chosen, can make the key better
// known than it was.
//
// The key begins with 256 bits of the processor's generator. Where there is none, with the moments at which the timer's
// interrupts come, as the cycle counter shows them: the timer and the counter have different clocks, and an interrupt
// waits for the instruction that is under way. Of each moment two bits are taken to be unknown.
#include "kernel/random.h"
#include "kernel/chacha20.h"
#include "kernel/cmdline.h"
#include "kernel/lib.h"
#include "kernel/mutex.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include <arch/machine.h>

enum { MOMENTS = 256 / 2 };

static struct mutex lock = MUTEX_INIT(lock, "random");
static u8 key[CHACHA20_KEY];		// lock
static bool seeded;			// lock

static const u8 no_nonce[CHACHA20_NONCE];

// Replace `from` by half of its block, and give the other half.
static void split_key(u8 from[CHACHA20_KEY], u8 other[CHACHA20_KEY])
{
	u8 block[CHACHA20_BLOCK];

	chacha20_block(from, 0, no_nonce, block);
	memcpy(from, block, CHACHA20_KEY);
	memcpy(other, block + CHACHA20_KEY, CHACHA20_KEY);
}

static void stir(unsigned place, u64 input)
{
	u8 unused[CHACHA20_KEY];
	u64 word;

	memcpy(&word, key + place * sizeof(word), sizeof(word));
	word ^= input;
	memcpy(key + place * sizeof(word), &word, sizeof(word));
	split_key(key, unused);
}

static bool stir_from_processor(unsigned words)
{
	u64 input;

	for (unsigned i = 0; i < words; i++) {
		if (!arch_random64(&input))
			return false;
		stir(i, input);
	}
	return true;
}

static void stir_from_timer(void)
{
	for (unsigned i = 0; i < MOMENTS; i++) {
		thread_sleep_ns(1);		// until the next tick
		stir(i % 4, cycles());
	}
}

static void seed(void)
{
	if (arch_cycles_are_instructions())
		stir(0, opt_seed);
	else if (!stir_from_processor(CHACHA20_KEY / sizeof(u64)))
		stir_from_timer();
	seeded = true;
}

static void key_for_request(u8 own[CHACHA20_KEY])
{
	mutex_lock(&lock);
	if (!seeded)
		seed();
	else if (!arch_cycles_are_instructions())
		stir_from_processor(1);		// if the key was found out, it is unknown again in a while
	split_key(key, own);
	mutex_unlock(&lock);
}

void random_bytes(void *to, size_t n)
{
	u8 own[CHACHA20_KEY], block[CHACHA20_BLOCK];

	key_for_request(own);
	for (u32 i = 0; n; i++) {
		size_t some = MIN(n, sizeof(block));

		chacha20_block(own, i, no_nonce, block);
		memcpy(to, block, some);
		to = (char *)to + some;
		n -= some;
	}
}
