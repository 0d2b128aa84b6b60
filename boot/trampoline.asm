; SPDX-License-Identifier: MIT
; Where application processors begin: one page of low memory, at which all of them run at the same time. It is copied
; from here by smp.c over a page of INT3. Nothing in it is exclusive: no lock, no stack, no shared scratch word.
; It runs in whichever page it is copied to: addresses are offsets from the page's start. Real mode has the page in its
; segment registers; protected mode, whose segments are flat, keeps its address in ebx.
;
;   real mode, at PAGE:0 → am I called for the roll or for work?
;     roll: write my APIC id into a slot of my own, halt. A second INIT and start-up interrupt wakes me.
;     work: 32-bit → 64-bit mode → ap_entry in the kernel image: find my number by my APIC id, take my stack,
;           wait until all have come this far, call ap_main(number)

MSR_EFER equ 0xc0000080
PHASE_ROLL equ 1		; enum phase in smp.c
PHASE_WORK equ 2

%define at(label) (label - trampoline)

global trampoline, trampoline_end, trampoline_data
extern ap_main, ap_count, ap_apic_id, ap_stack_top, ap_leaf_b

section .rodata
align 16
bits 16
trampoline:
	jmp near real_mode

	align 8, db 0xcc
trampoline_data:		; struct trampoline_data in smp.c
.phase:		dd 0
.inside:	dd 0		; CPUs between .work and ap_main
.most:		dd 0		; the most of them at once
.cr3:		dd 0
.cr4:		dd 0
.cr0:		dd 0
.efer:		dd 0
.leaf_b:	dd 0		; APIC ids come from CPUID leaf 0xb, otherwise from leaf 1
.nr_slots:	dd 0
.next_slot:	dd 0
.page:		dd 0		; where this page is
; smp.c adds the page to these three addresses. LGDT and a far jump need complete addresses.
.to_protected:	dd at(real_mode.protected), 0x08	; far pointers: offset, selector
.to_long:	dd at(real_mode.long), 0x18
		dw 0		; alignment
.gdt_pointer:	dw 4 * 8 - 1
		dd at(.gdt)
.slots:		times 256 dd 0xffffffff
; All with the accessed bit set: the processor would set it, and the page is read-only once paging is on.
.gdt:		dq 0
		dq 0x00cf9b000000ffff	; 0x08: 32-bit code
		dq 0x00cf93000000ffff	; 0x10: data
		dq 0x00af9b000000ffff	; 0x18: 64-bit code

real_mode:
	cli
	cld
	mov ax, cs
	mov ds, ax
	mov eax, [at(trampoline_data.phase)]
	cmp eax, PHASE_WORK
	je .work
	cmp eax, PHASE_ROLL
	jne .halt			; too late: the roll is closed

	; My APIC id
	mov eax, 1
	cmp dword [at(trampoline_data.leaf_b)], 0
	je .leaf_1
	mov eax, 0xb
	xor ecx, ecx
	cpuid
	mov ebx, edx
	jmp .answer
.leaf_1:
	cpuid
	shr ebx, 24
.answer:
	mov eax, 1
	lock xadd [at(trampoline_data.next_slot)], eax
	cmp eax, [at(trampoline_data.nr_slots)]
	jae .halt
	mov si, ax
	shl si, 2
	mov [at(trampoline_data.slots) + si], ebx
.halt:
	hlt
	jmp .halt

.work:
	mov ebx, 1
	lock xadd [at(trampoline_data.inside)], ebx
	inc ebx
	mov eax, [at(trampoline_data.most)]
.most:
	cmp ebx, eax
	jbe .protect
	lock cmpxchg [at(trampoline_data.most)], ebx
	jne .most
.protect:
	mov ebx, [at(trampoline_data.page)]
	lgdt [at(trampoline_data.gdt_pointer)]
	mov eax, 1			; protection on; caches on (INIT leaves CD and NW as they were)
	mov cr0, eax
	jmp dword far [at(trampoline_data.to_protected)]

bits 32
.protected:
	mov ax, 0x10
	mov ds, ax
	mov es, ax
	mov ss, ax
	mov eax, [ebx + at(trampoline_data.cr4)]
	mov cr4, eax
	mov eax, [ebx + at(trampoline_data.cr3)]
	mov cr3, eax
	mov ecx, MSR_EFER
	mov eax, [ebx + at(trampoline_data.efer)]
	xor edx, edx
	wrmsr
	mov eax, [ebx + at(trampoline_data.cr0)]
	mov cr0, eax
	jmp dword far [ebx + at(trampoline_data.to_long)]

bits 64
.long:
	mov rax, ap_entry
	jmp rax
trampoline_end:

section .text
ap_entry:
	; My APIC id
	mov eax, 1
	cmp dword [ap_leaf_b], 0
	je .leaf_1
	mov eax, 0xb
	xor ecx, ecx
	cpuid
	mov eax, edx
	jmp .find
.leaf_1:
	cpuid
	mov eax, ebx
	shr eax, 24
.find:
	mov ecx, 1			; CPU 0 is the boot CPU
.next:
	cmp ecx, [ap_count]
	jae .stray
	cmp eax, [ap_apic_id + rcx * 4]
	je .found
	inc ecx
	jmp .next
.stray:					; this CPU has not been called
	hlt
	jmp .stray
.found:
	mov rsp, [ap_stack_top + rcx * 8]
	xor ebp, ebp			; backtraces end here
	mov edi, ecx
	call ap_main
	ud2
