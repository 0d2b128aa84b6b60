// SPDX-License-Identifier: MIT
// Where physical address 0 lies in this process.
#pragma once

extern uintptr_t host_ram;
#define DIRECT_MAP_BASE host_ram
