; SPDX-License-Identifier: MIT
; The 256 entry points: build a struct trap_frame, make GS the kernel's, call trap_dispatch(); or, from user mode, where the
; frame lies in the thread's context, return from user_enter() (user.asm). All are interrupt gates (IRQs off).
%include "arch/x86_64/trap_frame.inc"
MSR_GS_BASE equ 0xc0000101

global trap_stubs, trap_return_address, trap_nmi, trap_nmi_iret
extern trap_dispatch, user_leave, user_frame_end

%macro stub 1
	align 16
stub_%1:
%if %1 == 8 || (%1 >= 10 && %1 <= 14) || %1 == 17 || %1 == 21 || %1 == 29 || %1 == 30
	; the CPU has pushed an error code
%else
	push 0
%endif
	push %1
%if %1 == 1
	jmp trap_debug
%elif %1 == 2
	jmp trap_nmi
%elif %1 == 8 || %1 == 18
	jmp trap_paranoid
%else
	jmp trap_common
%endif
%endmacro

section .text
trap_common:
	push_registers
	cld
	test byte [rsp + FRAME_CS], 3
	jnz .from_user
	call trap_call
	pop_registers
	iretq
.from_user:				; GS is the user's
	swapgs
	jmp user_leave

; Double fault, machine check, NMI, and debug exceptions of the kernel: these come at any instruction, also between a
; change of mode and its SWAPGS, so CS does not tell whose GS it is. The base does: the kernel's is negative on every CPU
; (percpu.c), a user's never.
%macro paranoid 0
	push_registers
	cld
	mov ecx, MSR_GS_BASE
	rdmsr
	xor ebx, ebx
	test edx, edx
	js %%kernel
	swapgs
	inc ebx				; callee-saved: still there after the call
%%kernel:
	call trap_call
	test ebx, ebx
	jz %%to_kernel
	swapgs
%%to_kernel:
	pop_registers
%endmacro

trap_paranoid:
	paranoid
	iretq

; A debug exception may be held back until after the SYSCALL that follows a MOV to SS (SDM vol. 3, 6.8.3), and then comes on
; the user's stack and GS although CS is the kernel's: hence a stack of its own. From user mode its frame goes where that of
; any other trap is.
trap_debug:
	test byte [rsp + 3 * 8], 3
	jz trap_paranoid
	push_registers
	cld
	swapgs
	mov rsi, rsp
	mov rdi, [gs:user_frame_end]
	sub rdi, FRAME_SIZE
	mov rax, rdi
	mov ecx, FRAME_WORDS
	rep movsq
	mov rsp, rax
	jmp user_leave

; No NMI is delivered until the last one's IRET has been executed (SDM vol. 3, 6.7.1). QEMU's emulation of AMD's
; virtualisation breaks that for a guest of Xen: Xen intercepts the IRET and asks for one instruction without interrupts,
; QEMU forgets the request, and the next NMI comes just before the IRET (docs/xen.md). Its frame, at the top of the same
; stack, would overwrite the one that this IRET needs. So the frame is copied to below the place where the next one goes;
; and an NMI that has interrupted that IRET takes the IRET's frame for its own, as if it had come just after it.
NMI_FRAME equ 7 * 8			; ss, rsp, rflags, cs, rip, error code, vector
trap_nmi:
	test byte [rsp + 3 * 8], 3	; a user's address proves nothing
	jnz .copy
	cmp qword [rsp + 2 * 8], trap_nmi_iret
	je .at_iret
.copy:	sub rsp, 8			; keep the ABI's alignment
	times 7 push qword [rsp + NMI_FRAME]
	jmp .framed
.at_iret:
	mov rsp, [rsp + 5 * 8]
	push 0				; error code
	push 2				; vector
.framed:
	paranoid
trap_nmi_iret:
	iretq

; In between, so that a backtrace knows the frame by one return address: it lies 16 above trap_dispatch()'s rbp, plus
; the return address into the stub.
trap_call:
	lea rdi, [rsp + 8]
	sub rsp, 8			; keep the ABI's alignment
	call trap_dispatch
trap_return_address:
	add rsp, 8
	ret

%assign v 0
%rep 256
	stub v
%assign v v + 1
%endrep

section .rodata
align 8
trap_stubs:
%assign v 0
%rep 256
	dq stub_ %+ v
%assign v v + 1
%endrep
