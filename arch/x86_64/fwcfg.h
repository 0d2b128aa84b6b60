// SPDX-License-Identifier: MIT
// QEMU's firmware configuration device. Boot CPU, before the others start. Everything that comes out of it is checked:
// another device may sit at its ports.
#pragma once
#include "kernel/types.h"

struct fwcfg_file {
	u16 key;
	u32 size;
};

bool fwcfg_find(const char *name, struct fwcfg_file *f);	// false: no such file, or no such device
// Its first n bytes into RAM that the direct map covers: by DMA, or byte by byte where the device has none or fails at
// it.
void fwcfg_read(const struct fwcfg_file *f, paddr_t to, u32 n);
// A short file as a string in to[size]: unchanged, cut if it is too long, with a zero behind it. How many bytes; 0:
// none.
size_t fwcfg_read_line(const char *name, char *to, size_t size);

// QEMU's opt/quiesce/cmdline unchanged, with a zero behind it; "" if there is none. A line longer than the kernel
// accepts is cut, but still too long.
const char *fwcfg_cmdline(size_t *len);
