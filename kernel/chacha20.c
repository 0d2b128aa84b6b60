// SPDX-License-Identifier: MIT
// The ChaCha20 block function. The state is 4 by 4 words, all of them little endian:
//
//	"expand 32-byte k"			a round mixes the four columns, or the four diagonals;
//	key     key     key     key		there are ten of each, in turn
//	key     key     key     key
//	counter nonce   nonce   nonce
#include "kernel/chacha20.h"
#include "kernel/string.h"

static u32 rotated(u32 x, unsigned n) { return x << n | x >> (32 - n); }

static void quarter_round(u32 *a, u32 *b, u32 *c, u32 *d)
{
	*a += *b, *d = rotated(*d ^ *a, 16);
	*c += *d, *b = rotated(*b ^ *c, 12);
	*a += *b, *d = rotated(*d ^ *a, 8);
	*c += *d, *b = rotated(*b ^ *c, 7);
}

void chacha20_block(const u8 key[CHACHA20_KEY], u32 counter, const u8 nonce[CHACHA20_NONCE], u8 out[CHACHA20_BLOCK])
{
	u32 start[16], x[16];

	memcpy(start, "expand 32-byte k", 16);
	memcpy(start + 4, key, CHACHA20_KEY);
	start[12] = counter;
	memcpy(start + 13, nonce, CHACHA20_NONCE);
	memcpy(x, start, sizeof(x));
	for (int round = 0; round < 10; round++) {
		for (int i = 0; i < 4; i++)
			quarter_round(&x[i], &x[4 + i], &x[8 + i], &x[12 + i]);
		for (int i = 0; i < 4; i++)
			quarter_round(&x[i], &x[4 + (i + 1) % 4], &x[8 + (i + 2) % 4], &x[12 + (i + 3) % 4]);
	}
	for (int i = 0; i < 16; i++)
		x[i] += start[i];
	memcpy(out, x, sizeof(x));
}
