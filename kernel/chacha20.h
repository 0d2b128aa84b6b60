// SPDX-License-Identifier: MIT
// The ChaCha20 block function (RFC 8439, 2.3).
#pragma once
#include "kernel/types.h"

enum { CHACHA20_KEY = 32, CHACHA20_NONCE = 12, CHACHA20_BLOCK = 64 };

void chacha20_block(const u8 key[CHACHA20_KEY], u32 counter, const u8 nonce[CHACHA20_NONCE], u8 out[CHACHA20_BLOCK]);
