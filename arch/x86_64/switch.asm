; SPDX-License-Identifier: MIT
; The context switch. struct thread begins with the saved stack pointer (asserted in switch.c).

global arch_switch, thread_start
extern thread_entry

section .text
; struct thread *arch_switch(struct thread *prev, struct thread *next): returns prev, on next's stack.
arch_switch:
	push rbp
	push rbx
	push r12
	push r13
	push r14
	push r15
	mov [rdi], rsp
	mov rsp, [rsi]
	pop r15
	pop r14
	pop r13
	pop r12
	pop rbx
	pop rbp
	mov rax, rdi
	ret

; A new thread's first return address (arch_thread_init); rbp is 0, which ends backtraces.
thread_start:
	mov rdi, rax			; the previous thread
	call thread_entry
	ud2
