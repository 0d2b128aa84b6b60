// SPDX-License-Identifier: MIT
// Readers of every kind for the suites of RCU.
#include <arch/ipi.h>
#include <arch/machine.h>
#include "kernel/thread.h"
#include "lab/test.h"
#include "tests/kernel/rcu/readers.h"

void move_to(unsigned cpu)
{
	struct cpumask m = { 0 };

	cpumask_set(&m, cpu);
	EXPECT_EQ(thread_set_affinity(&m), 0);
}

void move_anywhere(void)
{
	thread_set_affinity(&cpus_online);
}

void spin_ns(u64 ns)
{
	for (u64 end = now_ns() + ns; now_ns() < end; )
		cpu_relax();
}

const char *const reader_name[] = { "preemption off", "interrupts off", "in an interrupt", "in an NMI" };

struct reader reader;
static DEFINE_PER_CPU(u32, nmi_reader_asked);

static void read_section(void *arg)
{
	struct reader *r = arg;
	store_release(&r->inside, 1);
	if (r->ns)
		spin_ns(r->ns);
	else
		spin_until(r->over ? r->over() : load_acquire(&r->leave), "the reader's end", -1);
	store_release(&r->done, 1);
}

static void nmi_reader(void)
{
	if (READ_ONCE(*this_cpu_ptr(&nmi_reader_asked)) && xchg(this_cpu_ptr(&nmi_reader_asked), 0))
		read_section(&reader);
}
NMI_HANDLER(nmi_reader);

static int reader_thread(void *arg)
{
	struct reader *r = arg;
	irqflags_t flags;

	if (r->kind == READ_PREEMPT_OFF) {
		rcu_read_lock();
		read_section(r);
		rcu_read_unlock();
	} else {
		flags = irq_save();
		read_section(r);
		irq_restore(flags);
	}
	return 0;
}

static struct xcall reader_call = { .fn = read_section, .arg = &reader };

static struct thread *start(unsigned cpu)
{
	struct thread *t = NULL;

	switch (reader.kind) {
	case READ_INTERRUPT:
		EXPECT(xcall_async(cpu, &reader_call));
		break;
	case READ_NMI:
		xchg(per_cpu_ptr(&nmi_reader_asked, cpu), 1);
		arch_send_ipi(cpu, IPI_NMI);
		break;
	default:
		t = thread_create("reader", reader_thread, &reader, cpu, PRIO_NORMAL);
		EXPECT(t);
	}
	spin_until(load_acquire(&reader.inside), "reader to begin", cpu);
	return t;
}

struct thread *start_reader(enum reader_kind kind, unsigned cpu, u64 ns)
{
	reader = (struct reader){ .kind = kind, .ns = ns };
	return start(cpu);
}

struct thread *start_reader_until(enum reader_kind kind, unsigned cpu, bool (*over)(void))
{
	reader = (struct reader){ .kind = kind, .over = over };
	return start(cpu);
}

void end_reader(struct thread *t)
{
	WRITE_ONCE(reader.leave, 1);
	if (t)
		thread_join(t);
	spin_until(load_acquire(&reader.done), "reader to end", last_cpu());
}

bool rcu_quiet(void)
{
	u64 seq = READ_ONCE(rcu.seq);

	return rcu_pending_callbacks() == 0 && !rcu_seq_running(seq) && READ_ONCE(rcu.requested) <= rcu_seq_completed(seq);
}

static bool quiet_after_another(void)
{
	synchronize_rcu();
	return rcu_quiet() && cpumask_empty(&rcu.eager);
}

void rcu_make_quiet(void)
{
	rcu_barrier();
	EXPECT(EVENTUALLY(quiet_after_another()));
}

struct disturbance disturbance_of(unsigned cpu)
{
	u64 n = READ_ONCE(per_cpu(ticks, cpu));

	return (struct disturbance){ READ_ONCE(per_cpu(context_switches, cpu)), READ_ONCE(per_cpu(interrupts, cpu)) - n, n };
}

bool undisturbed_since(unsigned cpu, const struct disturbance *before)
{
	struct disturbance now = disturbance_of(cpu);
	bool ok = now.switches == before->switches && now.interrupts == before->interrupts && now.ticks <= before->ticks + 1;

	if (!ok)
		log_info("idle CPU %u: %llu interrupts, %llu ticks, %llu switches", cpu,
			 (unsigned long long)(now.interrupts - before->interrupts),
			 (unsigned long long)(now.ticks - before->ticks),
			 (unsigned long long)(now.switches - before->switches));
	return ok;
}

u32 ran;
void count_run(struct rcu_head *head)
{
	fetch_add(&ran, 1);
}
