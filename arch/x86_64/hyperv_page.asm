; SPDX-License-Identifier: MIT
; The hypercall page: the hypervisor puts code over it that enters it in its way. A page of the image's text, so that it
; can be executed and by no name written to.
global hyperv_page

section .text.hyperv progbits alloc exec nowrite align=4096
hyperv_page:
	times 4096 int3
