; SPDX-License-Identifier: MIT
; The Multiboot2 header (specification 2.0, 3.1): must lie in the first 32 KiB of the file, 8-aligned. The loader places us
; by the ELF program headers, and the defaults for entry and machine state suit us. We ask for a screen of pixels, of
; any size (3.1.10); where there is none, a loader for BIOS gives text.
MAGIC equ 0xe85250d6
ARCH_I386 equ 0
FRAMEBUFFER equ 5
OPTIONAL equ 1

section .boot.header progbits alloc noexec nowrite align=8
header:
	dd MAGIC, ARCH_I386, header_end - header
	dd (1 << 32) - (MAGIC + ARCH_I386 + (header_end - header))
	dw FRAMEBUFFER, OPTIONAL
	dd 20, 0, 0, 32	; size of the tag; width, height: no preference; bits
	align 8, db 0
	dw 0, 0		; end tag
	dd 8
header_end:

; The note of Xen's that names the PVH entry, XEN_ELFNOTE_PHYS32_ENTRY: owner "Xen", a 32-bit physical address. Loaders
; find it by the program header PT_NOTE.
PHYS32_ENTRY equ 18
extern pvh_entry

section .note.Xen note alloc noexec nowrite align=4
	dd 4, 4, PHYS32_ENTRY	; bytes of the owner and of the address; type
	db "Xen", 0
	dd pvh_entry
