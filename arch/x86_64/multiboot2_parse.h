// SPDX-License-Identifier: MIT
// The loader's boot information. A function of its arguments only, like the other parsers (*_parse.c): their tests run
// on the host, too.
#pragma once
#include "arch/x86_64/bootinfo.h"

// Parse Multiboot2 boot information that lies in buf; nothing beyond buf+len is touched. NULL, or what is wrong.
const char *multiboot2_parse(const void *buf, size_t len, struct boot_info *out);
#define MULTIBOOT2_MAX (1u << 20)	// no correct boot information is longer

// NULL, or why nothing can be written to it: not a mode that we know, not within [0, phys_end), or laid over usable RAM.
const char *framebuffer_check(const struct boot_info *b, u64 phys_end);
