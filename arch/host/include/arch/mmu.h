// SPDX-License-Identifier: MIT
// Contract: page-table entries, the direct map, invalidation. The host uses the same entry layout: one text for both.
#pragma once
#include "arch/x86_64/include/arch/mmu.h"
