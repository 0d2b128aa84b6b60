// SPDX-License-Identifier: MIT
// User mode on the host: a processor that executes a program's instructions (user.h) one by one. Its accesses go
// through the software MMU. Between two instructions interrupts are taken, and end user mode, as on hardware.
#include "arch/host/user.h"
#include "arch/host/irq.h"
#include "arch/host/uaccess.h"
#include "kernel/errno.h"
#include "kernel/log.h"
#include "kernel/panic.h"
#include "kernel/preempt.h"
#include "proc/signal.h"
#include <arch/pte.h>
#include <arch/uaccess.h>
#include <arch/user.h>

#define USER_OWN_NR (~0ull)
#define RED_ZONE 128
// x86's numbers, so that the same tests hold.
enum { TRAP_UNDEFINED = 6, TRAP_PAGE_FAULT = 14, ERROR_WRITE = 1 << 1, ERROR_USER = 1 << 2, ERROR_EXEC = 1 << 4 };

enum outcome { NEXT, RELAX, CALL, FAULT };

bool arch_user_init(struct user_context *c, vaddr_t entry, vaddr_t stack)
{
	*c = (struct user_context){ .r = { .pc = entry, .sp = stack, .nr = USER_OWN_NR } };
	return true;
}

bool arch_user_copy(struct user_context *to, struct user_context *from)
{
	*to = (struct user_context){ .r = from->r, .tls = from->tls, .gs = from->gs };
	arch_user_set_result(to, 0);
	return true;
}

void arch_user_free(struct user_context *c) { }
void arch_user_switched_out(struct user_context *c) { }	// no register of its is the host processor's

static enum outcome page_fault(struct user_context *c, vaddr_t va, bool write, bool exec)
{
	c->fault = (struct user_fault){
		.write = write, .exec = exec, .addr = va, .trap = TRAP_PAGE_FAULT,
		.error = ERROR_USER | (write ? ERROR_WRITE : 0) | (exec ? ERROR_EXEC : 0),
	};
	return FAULT;
}

static enum outcome undefined(struct user_context *c)
{
	c->fault = (struct user_fault){ .signal = SIGILL, .code = ILL_ILLOPN, .addr = c->r.pc, .trap = TRAP_UNDEFINED };
	return FAULT;
}

// 8 bytes to or from *value. After a fault the instruction is executed again: pc goes on only when all is done.
static enum outcome move(struct user_context *c, vaddr_t va, u64 *value, bool write)
{
	vaddr_t fault;

	return access_user(va, value, sizeof(*value), write, &fault) ? NEXT : page_fault(c, fault, write, false);
}

static enum outcome add(struct user_context *c, vaddr_t va, u32 n)
{
	u32 expected, old = 0;

	if (va % sizeof(old))
		return undefined(c);
	do {
		expected = old;
		if (!access_cmpxchg32(va, expected, expected + n, &old))
			return page_fault(c, va, true, false);
	} while (old != expected);
	c->r.acc = old;
	return NEXT;
}

static enum outcome call(struct user_context *c, const struct user_op *op)
{
	c->call_pc = c->r.pc;
	c->call_nr = c->r.nr == USER_OWN_NR ? op->value : c->r.nr;
	c->r.nr = USER_OWN_NR;
	for (unsigned i = 0; i < 6; i++)
		c->call_args[i] = op->acc_args >> i & 1 ? c->r.acc : op->args[i];
	return CALL;
}

static enum outcome jump(u64 *next, bool taken, vaddr_t to)
{
	if (taken)
		*next = to;
	return NEXT;
}

static enum outcome return_(struct user_context *c, u64 *next)
{
	enum outcome o = move(c, c->r.sp, next, false);

	if (o == NEXT)
		c->r.sp += sizeof(*next);
	return o;
}

static enum outcome execute(struct user_context *c, struct user_op *op, u64 *next)
{
	struct user_registers *r = &c->r;

	switch (op->opcode) {
	case OP_READ: return move(c, op->a, &r->acc, false);
	case OP_WRITE: return move(c, op->a, &op->value, true);
	case OP_STORE: return move(c, op->a, &r->acc, true);
	case OP_ADD: return add(c, op->a, (u32)op->value);
	case OP_SET: r->acc = op->value; return NEXT;
	case OP_ARG: r->acc = r->arg; return NEXT;
	case OP_CALL: return call(c, op);
	case OP_JUMP: return jump(next, true, op->a);
	case OP_IF_EQ: return jump(next, r->acc == op->value, op->a);
	case OP_IF_NE: return jump(next, r->acc != op->value, op->a);
	case OP_COUNT: r->count = op->value; return NEXT;
	case OP_LOOP: return jump(next, --r->count, op->a);
	case OP_PAUSE: return RELAX;
	case OP_RETURN: return return_(c, next);
	default: return undefined(c);
	}
}

// IRQs off: no interrupt comes in the middle of an instruction.
static enum outcome step(struct user_context *c)
{
	u64 next = c->r.pc + USER_OP_SIZE;
	struct user_op op;
	enum outcome o;
	vaddr_t fault;

	if (!access_user(c->r.pc, &op, sizeof(op), false, &fault))
		return page_fault(c, fault, false, true);
	o = execute(c, &op, &next);
	if (o != FAULT)
		c->r.pc = next;
	return o;
}

static bool interrupt_pending(void)
{
	return READ_ONCE(host_this(host_irq)->pending) & (HOST_XCALL | HOST_RESCHED | HOST_TIMER);
}

enum user_exit arch_user_run(struct user_context *c)
{
	bool interrupted;
	enum outcome o;

	ASSERT_MAY_SLEEP();
	do {
		irq_disable();
		if (READ_ONCE(c->work)) {
			irq_enable();
			return USER_INTERRUPT;
		}
		o = step(c);
		interrupted = interrupt_pending();
		irq_enable();		// it is taken here
		if (o == RELAX)
			cpu_relax();
	} while ((o == NEXT || o == RELAX) && !interrupted);
	return o == CALL ? USER_CALL : o == FAULT ? USER_FAULT : USER_INTERRUPT;
}

void arch_user_restart_as(struct user_context *c, u64 number)
{
	c->r.pc = c->call_pc;
	c->r.nr = number;
}
void arch_user_restart(struct user_context *c) { arch_user_restart_as(c, c->call_nr); }

vaddr_t arch_user_pc(const struct user_context *c) { return c->r.pc; }
vaddr_t arch_user_sp(const struct user_context *c) { return c->r.sp; }
void arch_user_set_sp(struct user_context *c, vaddr_t sp) { c->r.sp = sp; }

static int set_base(u64 *base, vaddr_t v)
{
	if (v >= USER_END - PAGE_SIZE)	// as on x86-64
		return -EPERM;
	*base = v;
	return 0;
}

int arch_user_set_tls(struct user_context *c, vaddr_t base) { return set_base(&c->tls, base); }
int arch_user_set_gs(struct user_context *c, vaddr_t base) { return set_base(&c->gs, base); }
vaddr_t arch_user_tls(const struct user_context *c) { return c->tls; }
vaddr_t arch_user_gs(const struct user_context *c) { return c->gs; }

// The frame lies at the stack pointer. Its first word is where the handler returns to.
struct signal_frame {
	u64 restorer;
	struct user_registers r;
	u64 mask;
	struct user_sigstack stack;
	struct user_siginfo info;
	u64 magic;
};
#define FRAME_MAGIC 0x6672616d65ull

// The frame's place. 0: it would leave the alternate stack.
static vaddr_t frame_place(const struct user_context *c, const struct user_signal *s)
{
	bool on_stack = user_on_sigstack(&s->stack, c->r.sp), confined = on_stack;
	vaddr_t sp = c->r.sp - RED_ZONE;

	if (s->use_stack && s->stack.size && !on_stack) {
		sp = s->stack.sp + s->stack.size;
		confined = true;
	}
	sp = ALIGN_DOWN(sp - sizeof(struct signal_frame), 16);
	return confined && !user_within_sigstack(&s->stack, sp) ? 0 : sp;
}

int arch_user_push_signal(struct user_context *c, const struct user_signal *s)
{
	vaddr_t sp = frame_place(c, s);
	struct signal_frame f = {
		.restorer = s->restorer, .r = c->r, .mask = s->mask, .stack = s->stack, .info = s->info,
		.magic = FRAME_MAGIC,
	};

	if (!sp || copy_out(sp, &f, sizeof(f)))
		return -EFAULT;
	c->r.pc = s->handler;
	c->r.sp = sp;
	c->r.arg = (u64)s->info.signo;
	c->r.nr = USER_OWN_NR;
	return 0;
}

// The handler has returned by OP_RETURN, which has taken the first word off the stack.
int arch_user_pop_signal(struct user_context *c, u64 *mask, struct user_sigstack *stack)
{
	struct signal_frame f;

	if (copy_in(&f, c->r.sp - sizeof(f.restorer), sizeof(f)) || f.magic != FRAME_MAGIC)
		return -EFAULT;
	c->r = f.r;
	*mask = f.mask;
	*stack = f.stack;
	return 0;
}

s64 arch_user_result(const struct user_context *c) { return (s64)c->r.acc; }

u64 arch_user_hwcap(void) { return 0; }
u64 arch_user_min_sigstack(void) { return sizeof(struct signal_frame) + RED_ZONE + 16; }

void arch_user_print(const struct user_context *c)
{
#define L(r) (unsigned long long)c->r
	log_error("pc %016llx sp %016llx acc %016llx count %016llx", L(r.pc), L(r.sp), L(r.acc), L(r.count));
	log_error("tls %016llx gs %016llx call %llu", L(tls), L(gs), L(call_nr));
#undef L
}
