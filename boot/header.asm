; SPDX-License-Identifier: MIT
; The Multiboot2 header (specification 2.0, 3.1): must lie in the first 32 KiB of the file, 8-aligned. No tag is needed
; but the end: the loader places us by the ELF program headers, and the defaults for entry and machine state suit us.
MAGIC equ 0xe85250d6
ARCH_I386 equ 0

section .boot.header progbits alloc noexec nowrite align=8
header:
	dd MAGIC, ARCH_I386, header_end - header
	dd (1 << 32) - (MAGIC + ARCH_I386 + (header_end - header))
	dw 0, 0		; end tag
	dd 8
header_end:
