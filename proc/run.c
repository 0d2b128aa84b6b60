// SPDX-License-Identifier: MIT
// mode=run: the program that came with the boot, from its file to its exit status.
#include "kernel/cmdline.h"
#include "kernel/errno.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/mode.h"
#include "kernel/panic.h"
#include "kernel/random.h"
#include "kernel/thread.h"
#include "lab/counter.h"
#include "lab/oracle.h"
#include "mm/flush/flush.h"
#include "mm/policy/policy.h"
#include "mm/space.h"
#include "proc/args.h"
#include "proc/elf.h"
#include "proc/leftover.h"
#include "proc/load.h"
#include "proc/process.h"
#include "proc/stack.h"
#include "proc/task.h"
#include "sys/syscall.h"
#include <arch/machine.h>

static const char *const environment[] = { "PATH=/", "HOME=/", "TERM=dumb", NULL };
static struct args args;

// The calling thread runs in p's space.
static int load(struct process *p, const struct elf_image *image, vaddr_t *entry, vaddr_t *sp)
{
	struct program program;
	struct stack_contents stack = {
		.argc = args.n, .argv = args.v, .envc = ARRAY_SIZE(environment) - 1, .envp = environment, .path = args.v[0],
		.program = &program, .executable = image->executable_stack,
	};
	int err;

	p->bias = elf_bias(image, opt_seed);
	err = program_load(p->space, p->file, image, p->bias, &program);
	if (err)
		return err;
	random_bytes(stack.random, sizeof(stack.random));
	*entry = program.entry;
	p->brk_start = p->brk = program.brk_start;
	return stack_build(p->space, &stack, sp);
}

static int start(struct process *p, const struct elf_image *image)
{
	struct task *t;
	vaddr_t entry, sp;
	int err;

	space_attach(p->space);
	err = load(p, image, &entry, &sp);
	space_detach();
	if (err)
		return err;
	t = task_create(p, NULL);
	if (!t)
		return -ENOMEM;
	err = arch_user_init(&t->user, entry, sp) ? task_start(t) : -ENOMEM;
	if (err)
		task_discard(t);
	return err;
}

static int report(const struct process *p)
{
	u32 signal = p->status & 0x7f;
	char name[SIGNAL_NAME_MAX];

	if (signal)
		kprintf("program: %s signal %u (%s)\n", p->name, signal, signal_name(signal, name));
	else
		kprintf("program: %s exit %d\n", p->name, p->status >> 8);
	return p->status ? EXIT_TESTS_FAILED : EXIT_OK;
}

static int run_process(struct process *p, const struct elf_image *image)
{
	int err = start(p, image);

	if (err) {
		log_error("%s cannot be started: error %d", p->name, -err);
		return EXIT_BAD_INPUT;
	}
	wait_for_completion(&p->ended);
	return report(p);
}

// What its memory has cost, so that runs under different pairs can be compared.
static void print_costs(const struct counters *before)
{
	struct counters now, c;
#define L(name) (unsigned long long)c.name

	counters_snapshot(&now);
	counters_sub(&c, &now, before);
	log_info("%s, %s: %llu faults, %llu tables freed (%llu during a walk), %llu CPUs flushed by IPI and %llu by NMI, "
		 "%llu callbacks", policy_default()->name, flush_default()->name, L(faults), L(tables_freed),
		 L(frees_during_walk), L(ipi_flush), L(flush_nmi), L(rcu_callbacks));
#undef L
}

// A program that has ended well has failed all the same if a detector has found something, or a frame is missing.
static int judge(int status, u64 frames_before)
{
	u64 frames = leftover_frames(), violations = oracle_violations();

	if (violations)
		log_error("%llu violations while the program ran", (unsigned long long)violations);
	if (frames != frames_before)
		log_error("%lld frames are still in use after the program's end", (long long)(frames - frames_before));
	return violations || frames != frames_before ? EXIT_TESTS_FAILED : status;
}

static int run_program(void)
{
	static struct elf_image image;
	struct counters before;
	struct process *p;
	const char *error;
	const void *file;
	u64 size, frames;
	int status;

	file = arch_program(&size);
	error = !file ? arch_program_error() ?: "no program came with the boot (make run PROGRAM=path)" :
		args_split(arch_program_args(), &args);
	if (!error && !args.n)
		error = "the program's arguments lack the first, its name";
	if (!error)
		error = elf_parse(file, size, &image);
	if (error) {
		log_error("%s", error);
		return EXIT_BAD_INPUT;
	}
	syscalls_init();
	frames = leftover_frames();
	counters_snapshot(&before);
	p = process_create(args.v[0]);
	if (!p) {
		log_error("no memory for a process");
		return EXIT_BAD_INPUT;
	}
	p->file = file;
	p->file_size = size;
	status = run_process(p, &image);
	process_put(p);
	status = judge(status, frames);
	print_costs(&before);
	return status;
}
MODE(run, run_program);
