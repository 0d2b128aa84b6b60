// SPDX-License-Identifier: MIT
// The branch is a NOP that becomes a jump.
#pragma once

struct branch_site {
	u8 *at;			// five bytes of code
	const u8 *to;
};

// 0f 1f 44 00 00 is the NOP of five bytes that Intel and AMD recommend.
static __always_inline bool arch_branch_on(void)
{
	__asm__ goto("1: .byte 0x0f, 0x1f, 0x44, 0x00, 0x00\n\t"
		     ".pushsection branch_sites, \"a\"\n\t"
		     ".quad 1b, %l[on]\n\t"
		     ".popsection" : : : : on);
	return false;
on:	__attribute__((cold));
	return true;
}

// For use in such a branch: trace_write(event, arg). It changes no register (branch_call.asm), and no memory that the
// code around it uses. So there is no "memory" clobber, after which the compiler would read again what it has read
// before. It stays in order with other volatile assembly and accesses.
static __always_inline void arch_branch_call(u64 event, u64 arg)
{
	__asm__ volatile("pushq %0; pushq %1; call branch_call" :: "ri"(event), "re"(arg) : "cc");
}
