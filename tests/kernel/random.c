// SPDX-License-Identifier: MIT
// ChaCha20 against the vectors of RFC 8439; random bytes: as many as were asked for, and never the same again.
#include "kernel/random.h"
#include "kernel/chacha20.h"
#include "kernel/lib.h"
#include "lab/test.h"

static bool block_is(const u8 key[CHACHA20_KEY], u32 counter, const u8 nonce[CHACHA20_NONCE], const char *hex)
{
	char found[2 * CHACHA20_BLOCK + 1];
	u8 out[CHACHA20_BLOCK];

	chacha20_block(key, counter, nonce, out);
	for (unsigned i = 0; i < sizeof(out); i++)
		ksnprintf(found + 2 * i, 3, "%02x", out[i]);
	return !strcmp(found, hex);
}

// Section 2.3.2.
TEST(random, chacha20_block, 0)
{
	static const u8 nonce[CHACHA20_NONCE] = { 0, 0, 0, 9, 0, 0, 0, 0x4a, 0, 0, 0, 0 };
	u8 key[CHACHA20_KEY];

	for (u8 i = 0; i < sizeof(key); i++)
		key[i] = i;
	EXPECT(block_is(key, 1, nonce, "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e"
				       "d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e"));
}

// Appendix A.1, 1 to 5.
TEST(random, chacha20_more, 0)
{
	static const u8 zero_nonce[CHACHA20_NONCE], nonce[CHACHA20_NONCE] = { [11] = 2 };
	u8 key[CHACHA20_KEY] = { 0 };

	EXPECT(block_is(key, 0, zero_nonce, "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
					    "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"));
	EXPECT(block_is(key, 1, zero_nonce, "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed"
					    "29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f"));
	EXPECT(block_is(key, 0, nonce, "c2c64d378cd536374ae204b9ef933fcd1a8b2288b3dfa49672ab765b54ee27c7"
				       "8a970e0e955c14f3a88e741b97c286f75f8fc299e8148362fa198a39531bed6d"));
	key[31] = 1;
	EXPECT(block_is(key, 1, zero_nonce, "3aeb5224ecf849929b9d828db1ced4dd832025e8018b8160b82284f3c949aa5a"
					    "8eca00bbb4a73bdad192b5c42f73f2fd4e273644c8b36125a64addeb006c13a0"));
	key[31] = 0;
	key[1] = 0xff;
	EXPECT(block_is(key, 2, zero_nonce, "72d54dfbf12ec44b362692df94137f328fea8da73990265ec1bbbea1ae9af0ca"
					    "13b25aa26cb4a648cb9b9d1be65b2c0924a66c54d545ec1b7374f4872e99f096"));
}

enum { MOST = 200 };

// Of 2 times 200 bytes, about 1.6 are equal by chance, and 30 once in 10^30 runs. (The few seeds of a run that repeats
// are runs that have been looked at.)
TEST(random, never_again, 0)
{
	u8 a[MOST], b[MOST];
	unsigned equal = 0, same_as_before = 0;

	random_bytes(a, sizeof(a));
	random_bytes(b, sizeof(b));
	for (unsigned i = 0; i < MOST; i++) {
		equal += a[i] == b[i];
		same_as_before += i >= 64 && a[i] == a[i - 64];		// the next block is another
	}
	EXPECT(equal < 30);
	EXPECT(same_as_before < 30);
}

// As many as were asked for: no byte beside them, and each of them (that one stays as it was 20 times has a chance of
// 256^-20).
TEST(random, length, 0)
{
	static const u8 lengths[] = { 0, 1, 7, 63, 64, 65, 128, 130 };

	for (unsigned l = 0; l < ARRAY_SIZE(lengths); l++) {
		u8 n = lengths[l], at[MOST], changed[MOST] = { 0 };

		for (int turn = 0; turn < 20; turn++) {
			memset(at, 0x5a, sizeof(at));
			random_bytes(at + 1, n);
			for (unsigned i = 0; i < MOST; i++)
				changed[i] |= at[i] != 0x5a;
		}
		for (unsigned i = 0; i < MOST; i++)
			if (changed[i] != (i >= 1 && i <= n))
				test_fail(__FILE__, __LINE__, "%u bytes: byte %u", n, i);
	}
}
