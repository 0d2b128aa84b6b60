; SPDX-License-Identifier: MIT
; The hypercall page: the hypervisor overlays it with code that enters the hypervisor. It is a page of the image's text,
; so that it is executable, and writable in none of its mappings.
global hyperv_page

section .text.hyperv progbits alloc exec nowrite align=4096
hyperv_page:
	times 4096 int3
