; SPDX-License-Identifier: MIT
; Into user mode and out of it. A thread's struct user_context begins with its trap frame. rsp0 of the TSS, and for SYSCALL
; user_frame_end, point behind that frame, so that both kinds of entry build it where it stays; the next word is the stack
; pointer with which user_enter() returns to its caller. So the kernel's stack holds nothing between two stays in user mode
; but that caller.
;
; Interrupts are off throughout. An NMI, a machine check or a debug exception may come between any two instructions here:
; each has a stack of its own and tells whose GS it is by the base (traps.asm). Nothing else can come: the context is the
; kernel's memory, and user.c lets nobody return to an address that IRETQ or SYSRET would fault on.
%include "arch/x86_64/trap_frame.inc"
USER_DATA equ 3 * 8 + 3			; gdt.h
USER_CODE equ 4 * 8 + 3
VEC_CALL equ 256			; traps.h

global user_enter, user_leave, syscall_entry, syscall_nowhere
extern user_frame_end, user_scratch

section .text
; void user_enter(struct user_context *c, bool by_sysret): returns when user mode has ended; the frame says why.
user_enter:
	push rbp
	push rbx
	push r12
	push r13
	push r14
	push r15
	mov [rdi + FRAME_SIZE], rsp
	mov rsp, rdi
	test esi, esi
	jnz .sysret
	pop_registers
	swapgs
	iretq
.sysret:
	pop_registers			; rcx and r11 are RIP and RFLAGS
	mov rsp, [rsp + 3 * 8]
	swapgs
	o64 sysret

; From here on the stack is not the kernel's until the third instruction is done: SFMASK has cleared IF and TF.
syscall_entry:
	swapgs
	mov [gs:user_scratch], rsp
	mov rsp, [gs:user_frame_end]
	push USER_DATA
	push qword [gs:user_scratch]
	push r11
	push USER_CODE
	push rcx
	push rax			; in place of an error code: the number, which the result does not overwrite
	push VEC_CALL
	push_registers
; rsp: the frame, complete; GS: the kernel's.
user_leave:
	mov rsp, [rsp + FRAME_SIZE]
	pop r15
	pop r14
	pop r13
	pop r12
	pop rbx
	pop rbp
	ret

; SYSCALL from 32-bit code leads here. There is no such code: no descriptor for it exists.
syscall_nowhere:
	ud2
