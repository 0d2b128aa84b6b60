; SPDX-License-Identifier: MIT
; The hypercall page: Xen fills it with one entry of 32 bytes for each hypercall. It is a page of the image's text, so
; that it is executable, and writable in none of its mappings.
global xen_page

section .text.xen progbits alloc exec nowrite align=4096
xen_page:
	times 4096 int3
