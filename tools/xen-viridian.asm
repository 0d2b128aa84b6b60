; SPDX-License-Identifier: MIT
; A program for dom0 that gives domain 1, which must not have run yet, Hyper-V's interface ("viridian") beside Xen's.
; xl does so only for HVM domains, which need a device model. Exit status 0 if Xen agrees. This is an ELF file as it
; stands (nasm -f bin), because the linker of this build may be one for bare metal.
	bits 64
	org 0x400000

OPEN	equ 2				; Linux's system calls
IOCTL	equ 16
EXIT	equ 60
O_RDWR	equ 2
PRIVCMD_HYPERCALL equ 48 << 16 | 'P' << 8 ; _IOC(_IOC_NONE, 'P', 0, sizeof(struct privcmd_hypercall))
HVM_OP	equ 34				; Xen's hypercall
SET_PARAM equ 0
VIRIDIAN equ 9				; the parameter: its bits are
FREQUENCIES equ 1 << 0			; the basic set, with frequencies
REMOTE_FLUSH equ 1 << 4			; flush hypercalls
IPI	equ 1 << 9			; IPI hypercalls
EX_MASKS equ 1 << 10			; both also for sets beyond the first 64 processors

file:	db 0x7f, "ELF", 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0
	dw 2, 62			; an executable for x86-64
	dd 1
	dq start, headers - file, 0
	dd 0
	dw 64, 56, 1, 0, 0, 0
headers:
	dd 1, 7				; one part: loaded, readable, writable, executable
	dq 0, file, file, end - file, end - file, 4096

device:	db "/dev/xen/privcmd", 0
	align 8
call:	dq HVM_OP, SET_PARAM, parameter, 0, 0, 0
parameter:
	dw 1, 0				; domain 1
	dd VIRIDIAN
	dq FREQUENCIES | REMOTE_FLUSH | IPI | EX_MASKS

start:	mov eax, OPEN
	mov edi, device
	mov esi, O_RDWR
	syscall
	mov edi, eax
	mov eax, IOCTL
	mov esi, PRIVCMD_HYPERCALL
	mov edx, call
	syscall
	neg eax				; the error of Linux or of Xen
	mov edi, eax
	mov eax, EXIT
	syscall
end:
