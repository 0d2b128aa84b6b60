// SPDX-License-Identifier: MIT
// The only TLB here is the adversary's, which mm/inval.h flushes.
#pragma once

static __always_inline void arch_flush_page(vaddr_t va) { }
