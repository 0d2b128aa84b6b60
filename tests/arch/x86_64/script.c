// SPDX-License-Identifier: MIT
// Scripts as machine code: acc is RAX, the loop's count RBX. What an instruction leaves of its place is jumped over.
#include "tests/proc/script.h"
#include "kernel/lib.h"
#include "kernel/panic.h"

struct code {
	u8 *at;		// the next byte
	u8 *start;
	vaddr_t va;	// of start
};

static void bytes(struct code *c, const void *from, size_t n)
{
	BUG_ON(c->at + n > c->start + SCRIPT_SIZE);
	memcpy(c->at, from, n);
	c->at += n;
}
#define EMIT(c, ...) bytes((c), (const u8[]){ __VA_ARGS__ }, sizeof((const u8[]){ __VA_ARGS__ }))

// MOV register, imm64: REX and opcode are given.
static void load(struct code *c, u8 rex, u8 opcode, u64 v)
{
	EMIT(c, rex, opcode);
	bytes(c, &v, sizeof(v));
}
#define RAX 0x48, 0xb8
#define RBX 0x48, 0xbb
#define RCX 0x48, 0xb9
#define RDX 0x48, 0xba

// After the opcode of a near jump: its displacement, from the end of the instruction.
static void displacement(struct code *c, vaddr_t to)
{
	s32 rel = (s32)(to - (c->va + (u64)(c->at - c->start) + sizeof(s32)));

	bytes(c, &rel, sizeof(rel));
}

static void call(struct code *c, const struct instruction *i)
{
	static const u8 immediate[6][2] = {	// MOV into RDI, RSI, RDX, R10, R8, R9
		{ 0x48, 0xbf }, { 0x48, 0xbe }, { 0x48, 0xba }, { 0x49, 0xba }, { 0x49, 0xb8 }, { 0x49, 0xb9 },
	}, from_rax[6][3] = {
		{ 0x48, 0x89, 0xc7 }, { 0x48, 0x89, 0xc6 }, { 0x48, 0x89, 0xc2 },
		{ 0x49, 0x89, 0xc2 }, { 0x49, 0x89, 0xc0 }, { 0x49, 0x89, 0xc1 },
	};

	for (unsigned n = 0; n < 6; n++) {
		if (i->acc_args >> n & 1)
			bytes(c, from_rax[n], sizeof(from_rax[n]));
		else
			load(c, immediate[n][0], immediate[n][1], i->args[n]);
	}
	load(c, RAX, i->value);
	EMIT(c, 0x0f, 0x05);					// syscall
}

static void encode(struct code *c, const struct instruction *i, vaddr_t target)
{
	bool memory = i->op == SCRIPT_READ || i->op == SCRIPT_WRITE || i->op == SCRIPT_STORE || i->op == SCRIPT_ADD;
	u32 value = (u32)i->value;

	if (memory)
		load(c, RCX, i->a);
	switch (i->op) {
	case SCRIPT_READ: EMIT(c, 0x48, 0x8b, 0x01); break;	// mov rax, [rcx]
	case SCRIPT_WRITE: load(c, RDX, i->value); EMIT(c, 0x48, 0x89, 0x11); break;	// mov [rcx], rdx
	case SCRIPT_STORE: EMIT(c, 0x48, 0x89, 0x01); break;	// mov [rcx], rax
	case SCRIPT_ADD:
		EMIT(c, 0xb8);					// mov eax, imm32
		bytes(c, &value, sizeof(value));
		EMIT(c, 0xf0, 0x0f, 0xc1, 0x01);		// lock xadd [rcx], eax
		break;
	case SCRIPT_SET: load(c, RAX, i->value); break;
	case SCRIPT_ARG: EMIT(c, 0x48, 0x89, 0xf8); break;	// mov rax, rdi
	case SCRIPT_CALL: call(c, i); break;
	case SCRIPT_JUMP: EMIT(c, 0xe9); displacement(c, target); break;
	case SCRIPT_IF_EQ:
	case SCRIPT_IF_NE:
		load(c, RCX, i->value);
		EMIT(c, 0x48, 0x39, 0xc8, 0x0f, i->op == SCRIPT_IF_EQ ? 0x84 : 0x85);	// cmp rax, rcx; je or jne
		displacement(c, target);
		break;
	case SCRIPT_COUNT: load(c, RBX, i->value); break;
	case SCRIPT_LOOP: EMIT(c, 0x48, 0xff, 0xcb, 0x0f, 0x85); displacement(c, target); break;	// dec rbx; jnz
	case SCRIPT_PAUSE: EMIT(c, 0xf3, 0x90); break;
	case SCRIPT_RETURN: EMIT(c, 0xc3); break;
	case SCRIPT_TRAP: EMIT(c, 0x0f, 0x0b); break;		// ud2
	}
}

void script_encode(u8 code[SCRIPT_SIZE], const struct instruction *i, vaddr_t at, vaddr_t start)
{
	struct code c = { .at = code, .start = code, .va = at };

	memset(code, 0xcc, SCRIPT_SIZE);
	encode(&c, i, SCRIPT_AT(start, i->a));
	EMIT(&c, 0xe9);						// jmp to the next one
	displacement(&c, at + SCRIPT_SIZE);
}
