; SPDX-License-Identifier: MIT
; The context switch, and an idle CPU's halt. struct thread begins with the saved stack pointer (asserted in switch.c).

global arch_thread_switch, thread_start, idle_halt, idle_hlt
extern thread_entry

section .text
; struct thread *arch_thread_switch(struct thread *prev, struct thread *next): returns prev, on next's stack.
arch_thread_switch:
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

; After STI no interrupt comes before the next instruction has begun: no wake-up fits in between. An NMI does, and ends
; that protection; trap_dispatch() therefore never returns to idle_hlt itself, but behind it.
idle_halt:
	push rbp
	mov rbp, rsp
	sti
idle_hlt:
	hlt
	pop rbp
	ret
