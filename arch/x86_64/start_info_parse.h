// SPDX-License-Identifier: MIT
// What a PVH loader (Xen, QEMU's -kernel, Firecracker, Cloud Hypervisor …) left. A function of its arguments only.
#pragma once
#include "arch/x86_64/bootinfo.h"

#define START_INFO_MAGIC 0x336ec578u	// the first word of start_info

// Parse the start_info at the physical address `at`. `memory` is where physical memory from 0 on is mapped, `size` bytes
// of it; nothing beyond is touched. NULL, or what is wrong. Where out->nr_memory is 0 then, the loader gave no memory map
// (version 0), and the hypervisor has to be asked for it.
const char *start_info_parse(const void *memory, u64 size, u64 at, struct boot_info *out);
