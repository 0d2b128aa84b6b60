; SPDX-License-Identifier: MIT
; From the loader's 32-bit protected mode to C in the upper half. There are two entries, and one path from there on:
;   entry      Multiboot2 (3.3); GRUB hands over the same state on BIOS and on UEFI. EAX: a magic number; EBX: its boot
;              information
;   pvh_entry  PVH (Xen, QEMU's -kernel, Firecracker …: boot/header.asm has the note that names it). EBX: start_info;
;              nothing else is trusted
; Both begin with paging off, A20 on, flat segments, and neither a stack nor a usable GDT.
;
; The first page tables, all of 2 MiB pages, are replaced by kmap_init():
;   0               -> 0    4 GiB   so that the code runs on while paging comes on
;   direct map      -> 0    4 GiB   the same tables; boot information and the early allocator lie in there
;   image           -> 0    1 GiB   its first page directory

MULTIBOOT2_MAGIC equ 0x36d76289
PVH_MAGIC equ 0x336ec578		; of start_info: for PVH in the place of what Multiboot2 leaves in EAX
DIRECT_MAP_BASE equ 0xffff800000000000
IMAGE_BASE equ 0xffffffff80000000
STACK_SLOT equ 4096 + 16384		; a guard page, then the stack (stack.c)
NR_BOOT_STACKS equ 5			; boot CPU: its thread, NMI, double fault, machine check, debug exception (stack.h)
EXIT_BAD_INPUT equ 2
P_W equ 3				; present, writable
PS equ 1 << 7
TABLES equ 7

global entry, pvh_entry, boot_stacks, boot_loader_magic, boot_loader_info, __stack_chk_guard
extern arch_init_early, kernel_main
extern __start_percpu, __stop_percpu, __percpu_boot, this_cpu_offset

section .boot.text progbits alloc exec nowrite align=16
bits 32
pvh_entry:
	mov eax, PVH_MAGIC
	jmp both_entries
entry:
	cmp eax, MULTIBOOT2_MAGIC
	je both_entries
	xor eax, eax			; refused below: a PVH loader does not come in here
both_entries:
	cli
	lgdt [gdt_pointer]		; flat segments of our own, before anything depends on what the loader's were
	jmp 24:.flat
.flat:	mov cx, 16
	mov ds, cx
	mov es, cx
	mov ss, cx
	mov esp, early_stack_top
	push 0
	popfd				; the specifications define IF and VM only: NT, AC and DF may have any value
	mov [loader_magic], eax
	mov [loader_info], ebx
	mov esi, no_loader
	test eax, eax
	jz refuse
	mov esi, no_long_mode
	mov eax, 0x80000000
	cpuid
	cmp eax, 0x80000001
	jb refuse
	mov eax, 0x80000001
	cpuid
	bt edx, 29
	jnc refuse
	mov ebp, edx			; kept for the NX bit below

	; All of 4 GiB by 2 MiB pages: 4 directories in a row.
	mov edi, directories
	xor ecx, ecx
.page:	mov eax, ecx
	shl eax, 21
	or eax, P_W | PS
	mov [edi + ecx * 8], eax
	mov dword [edi + ecx * 8 + 4], 0
	inc ecx
	cmp ecx, 4 * 512
	jb .page
	xor ecx, ecx
	mov eax, directories + P_W
.dir:	mov [pdpt_low + ecx * 8], eax
	add eax, 4096
	inc ecx
	cmp ecx, 4
	jb .dir
	mov dword [pdpt_image + 510 * 8], directories + P_W
	mov dword [root], pdpt_low + P_W
	mov dword [root + 256 * 8], pdpt_low + P_W
	mov dword [root + 511 * 8], pdpt_image + P_W

	mov eax, 1 << 5			; CR4.PAE, nothing else
	mov cr4, eax
	mov eax, root
	mov cr3, eax
	mov ecx, 0xc0000080		; EFER
	rdmsr
	or eax, 1 << 8			; LME
	bt ebp, 20
	jnc .no_nx
	or eax, 1 << 11			; NXE
.no_nx:	wrmsr
	mov eax, 0x80010033		; CR0: PG, WP, NE, ET, MP, PE
	mov cr0, eax
	jmp 8:entry64

; esi: what is wrong. Print it on the first serial port (the wait is bounded) and on port 0xe9, where Xen has its guests'
; console, and exit.
refuse:
	mov dx, 0x3f8 + 5
	mov ecx, 100000
.wait:	in al, dx
	test al, 0x20
	loopz .wait
	lodsb
	test al, al
	jz .exit
	mov dx, 0x3f8
	out dx, al
	out 0xe9, al
	jmp refuse
.exit:	mov dx, 0xf4			; isa-debug-exit
	mov eax, 0x10 + EXIT_BAD_INPUT
	out dx, eax
.halt:	hlt
	jmp .halt

no_loader: db "quiesce: started neither by a Multiboot2 loader nor by a PVH one", 13, 10, "quiesce: exit 2", 13, 10, 0
no_long_mode: db "quiesce: this CPU has no 64-bit mode", 13, 10, "quiesce: exit 2", 13, 10, 0

bits 64
entry64:
	mov rax, upper_half
	jmp rax

align 8
gdt:	dq 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cf9b000000ffff	; 64-bit code, data, 32-bit code
gdt_pointer:
	dw $ - gdt - 1
	dd gdt

section .boot.bss nobits alloc noexec write align=4096
root: resb 4096
pdpt_low: resb 4096
pdpt_image: resb 4096
directories: resb 4 * 4096
loader_magic: resd 1
loader_info: resd 1
resb 64
early_stack_top:

section .text
upper_half:
	mov ax, 16
	mov ds, ax
	mov es, ax
	mov ss, ax
	xor eax, eax
	mov fs, ax
	mov gs, ax
	mov rsp, boot_stacks + STACK_SLOT
	mov eax, [abs loader_magic]
	mov [rel boot_loader_magic], eax
	mov eax, [abs loader_info]
	mov [rel boot_loader_info], eax

	; CPU 0's per-CPU data: a copy of the template, addressed through the direct map as all others are, so that every
	; kernel GS base is negative.
	mov rsi, __start_percpu
	mov rdi, __percpu_boot
	mov rcx, __stop_percpu
	sub rcx, rsi
	rep movsb
	mov rax, __percpu_boot
	mov rcx, DIRECT_MAP_BASE - IMAGE_BASE
	add rax, rcx
	mov rcx, __start_percpu
	sub rax, rcx
	mov rdx, rax
	shr rdx, 32
	mov ecx, 0xc0000101		; GS base
	wrmsr
	shl rdx, 32
	mov eax, eax
	or rax, rdx
	mov [gs:this_cpu_offset], rax

	; Stack protector: before the first C function that has a canary. The zero byte stops string overruns.
	mov eax, 1
	cpuid
	xor edi, edi
	bt ecx, 30
	jnc .no_rdrand
	rdrand rdi
.no_rdrand:
	rdtsc
	shl rdx, 32
	or rax, rdx
	mov rcx, 0x9e3779b97f4a7c15
	imul rax, rcx
	xor rax, rdi
	xor al, al
	mov [rel __stack_chk_guard], rax

	xor ebp, ebp			; the backtrace ends here
	call arch_init_early
	call kernel_main
	ud2

section .bss.stacks nobits alloc noexec write align=4096
boot_stacks: resb STACK_SLOT * NR_BOOT_STACKS

section .bss nobits alloc noexec write align=8
__stack_chk_guard: resq 1
boot_loader_magic: resd 1
boot_loader_info: resd 1
