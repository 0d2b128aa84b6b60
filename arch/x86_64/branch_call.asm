; SPDX-License-Identifier: MIT
; What a branch of arch/branch.h calls when it is taken: trace_write(event, arg), both on the stack, which this removes.
; Every register is as before, so that the code around a branch which is off keeps all of them, and needs no stack frame.
bits 64
section .text
global branch_call
extern trace_write

branch_call:
	push rax
	push rcx
	push rdx
	push rsi
	push rdi
	push r8
	push r9
	push r10
	push r11
	mov rdi, [rsp + 88]	; pushed first
	mov rsi, [rsp + 80]
	call trace_write
	pop r11
	pop r10
	pop r9
	pop r8
	pop rdi
	pop rsi
	pop rdx
	pop rcx
	pop rax
	ret 16
