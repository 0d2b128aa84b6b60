// SPDX-License-Identifier: MIT
// Contract: page-table entries, the direct map, invalidation. The host uses the same entry layout: one text for both.
#pragma once
#include <stdint.h>

extern uintptr_t host_ram;	// where physical address 0 lies in this process
#define DIRECT_MAP_BASE host_ram
#include "arch/x86_64/include/arch/mmu.h"
