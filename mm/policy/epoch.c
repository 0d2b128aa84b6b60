// SPDX-License-Identifier: MIT
// table_free=epoch: no interrupt and no grace period; the freeing side waits for the walks that are under way (XNU on
// arm64, "retype epoch"; Xen's percpu rwlock is near). One word per CPU and nesting level counts the begins and the ends
// of walks: it is odd while a walk is inside.
//
//	walker                                    freeing side
//	------                                    ------------
//	word = word + 1, now odd                  clear the entries; flush
//	full barrier                    <-A->     full barrier
//	read the root's entry, …                  read all words; remember those that are odd
//	word = word + 1 (release)                 read these again (acquire) until each has changed
//
// A: store buffering, forbidden by the two full barriers: either the freeing side finds the word odd, or the walker
// finds the cleared entry. No value comes back in 64 bits: a word that has changed shows that the walk which was found
// has ended, even if the next one is inside by now. Only its own context writes a word: a walk in an interrupt or an
// NMI takes another one than the walk that it has interrupted.
//
// A `free` that has polled POLLS times defers: a batch keeps the tables and the values that still stood. Every later
// `free` looks at it again, and so does each tick of each CPU: a CPU whose walk has ended ticks once more before it
// idles. So no CPU that is in no walk is waited for. An RCU callback, armed while anything is deferred, frees what a tick
// leaves. Without memory for the batch `free` polls on, as `wait` always does: its caller is about to reuse the table.
#include "kernel/panic.h"
#include "kernel/spinlock.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "lab/counter.h"
#include "lab/mutant.h"
#include "lab/stall.h"
#include "mm/frame/slab.h"
#include "mm/table.h"
#include "mm/walk_body.h"

#define NESTINGS 3	// task, interrupt, NMI: each may walk in the middle of a walk of the one before
#define POLLS 256	// some microseconds: longer than a walk, shorter than a preemption
#define MOST_STAYS (CHECK ? NESTINGS : 64)	// that polling remembers at a time, on its stack; at least one CPU's
#define PIECE 64	// tables that are freed with preemption off, in a tick with interrupts off
struct epochs {
	u64 word[NESTINGS];
} __cacheline;
static DEFINE_PER_CPU(struct epochs, epochs);

static const struct table_policy epoch_policy;

// ---- The walker's side ----------------------------------------------------------------------------------------------

static __always_inline u64 *own_word(void)
{
	u64 *word = this_cpu_ptr(&epochs)->word;

	if (likely(!in_irq()))
		return word;
	if (MUTANT(epoch_one_level))	// a walk in an NMI takes the word of the one that it has interrupted
		return word;
	return word + (in_nmi() ? 2 : 1);
}

// Release: who reads this value finds that the walk before has ended, too.
static __always_inline void epoch_enter(struct walk_state *w)
{
	u64 *word = own_word();

	if (!MUTANT(epoch_no_enter))	// the Dekker race: the word is not odd before the walk's reads
		store_release(word, *word + 1);
	smp_mb();	// A: odd before the first entry is read; pairs with begin_to_wait()
	STALL(epoch_entered, w->space, 0, 0);	// the word is odd, nothing read
}

static __always_inline void epoch_exit(struct walk_state *w)
{
	u64 *word = own_word();

	if (MUTANT(epoch_no_enter))
		return;
	if (!MUTANT(epoch_one_level))
		ASSERT(*word & 1);
	store_release(word, *word + 1);		// after the walk's reads
}

// ---- Walks under way ------------------------------------------------------------------------------------------------

struct stay {			// of a walk: from its enter to its exit
	u32 cpu, nesting;
	u64 value;		// of the word meanwhile
};

// Walks that were under way; some CPUs may not have been looked at yet, if there are more walks than fit.
struct sample {
	unsigned next;		// the CPU to look at next
	unsigned n;
	struct stay stays[MOST_STAYS];
};

static u64 word_now(u32 cpu, u32 nesting)
{
	return load_acquire(&per_cpu(epochs, cpu).word[nesting]);	// pairs with epoch_exit(), and the next epoch_enter()
}

// Append the walks that are under way on one CPU; returns how many there are then.
static unsigned add_walks(struct stay *stays, unsigned n, unsigned cpu)
{
	for (unsigned i = 0; i < NESTINGS; i++) {
		u64 value = word_now(cpu, i);

		if (value & 1)
			stays[n++] = (struct stay){ cpu, i, value };
	}
	return n;
}

static void sample_more(struct sample *s)
{
	for (; s->next < nr_cpus && s->n + NESTINGS <= MOST_STAYS; s->next++)
		s->n = add_walks(s->stays, s->n, s->next);
}

// Drop the walks that have ended; returns how many are left.
static unsigned drop_ended(struct stay *stays, unsigned n)
{
	unsigned left = 0;

	for (unsigned i = 0; i < n; i++)
		if (word_now(stays[i].cpu, stays[i].nesting) == stays[i].value)
			stays[left++] = stays[i];
	return left;
}

// True: all walks have ended that were under way when the sample began.
static bool poll(struct sample *s, unsigned turns)
{
	for (;;) {
		s->n = drop_ended(s->stays, s->n);
		if (!s->n)
			sample_more(s);
		if (!s->n && s->next == nr_cpus)
			return true;
		if (!turns--)
			return false;
		cpu_relax();
	}
}

// A walk that lasts is most likely one whose CPU is preempted. It may need the processor on which this one spins.
static void poll_on(struct sample *s)
{
	struct seen waited = SEEN_FROM_NOW;

	while (!poll(s, SPIN_LOOK)) {
		waited = spin_look(waited, "a walk to end", (int)s->stays[0].cpu);
		if (waited.ns < tick_ns())
			thread_yield();
		else
			thread_sleep_ns(tick_ns());
	}
}

// ---- What is deferred -----------------------------------------------------------------------------------------------

struct batch {
	struct list link;
	struct list tables;		// FLUSHED
	unsigned n;
	struct stay stays[];
};

static struct {
	struct spinlock lock;	// ticks take it, too
	struct list batches;	// in the order of deferral
	u64 nr;			// of their pieces: PIECE tables, or what is left of a batch. Written under the lock, read without
	u32 armed;		// the callback is on its way
	struct rcu_head rcu;
	u64 waiting;		// pieces that are not yet FREE: those in the list, and those that a CPU has taken from it
} deferred = { .lock = SPINLOCK_INIT("epoch deferred", RANK_SLAB), .batches = LIST_INIT(deferred.batches) };

// Move a piece of the first batch to `tables`, if its walks have ended. Returns the batch if that was the last piece.
static struct batch *take_piece(struct list *tables)
{
	struct batch *b = list_first(&deferred.batches, struct batch, link);

	b->n = drop_ended(b->stays, b->n);
	if (MUTANT(epoch_one_look))	// what is deferred is freed without another look at the words
		b->n = 0;
	if (b->n)
		return NULL;
	for (unsigned i = 0; i < PIECE && !list_empty(&b->tables); i++)
		list_push_back(tables, list_pop_front(&b->tables));
	WRITE_ONCE(deferred.nr, deferred.nr - 1);
	if (list_empty(&b->tables))
		list_remove(&b->link);
	return list_empty(&b->tables) ? b : NULL;
}

// Preemption is off from the look until the tables are FREE: epoch_drain() relies on that.
static bool free_first(void)
{
	struct list tables = LIST_INIT(tables);
	struct batch *emptied = NULL;
	irqflags_t flags;

	preempt_disable();
	flags = spin_lock_irqsave(&deferred.lock);
	if (!list_empty(&deferred.batches))
		emptied = take_piece(&tables);
	spin_unlock_irqrestore(&deferred.lock, flags);
	if (list_empty(&tables)) {
		preempt_enable();
		return false;
	}
	STALL(epoch_found, NULL, 0, 0);		// taken off the list, not yet FREE; preemption off
	tables_free(&tables, &epoch_policy);
	kfree(emptied);
	fetch_sub(&deferred.waiting, 1);	// pairs with epoch_drain()
	preempt_enable();
	return true;
}

// A walk that holds up the first batch was under way when the later ones looked, so it holds up those, too. (Unless two
// frees were deferred in another order than they looked in: then a batch may wait for a walk that began after its own
// unlinking.) No more are looked at than there are now: others may defer meanwhile.
static void look_again(void)
{
	for (u64 n = READ_ONCE(deferred.nr); n && free_first(); n--)
		;
}

// An unmapper that waits for credits calls no `free`, and a grace period may wait for a CPU that is in no walk.
static void look_at_tick(void)
{
	if (MUTANT(epoch_no_tick))	// what is deferred waits for a grace period
		return;
	if (MUTANT(epoch_no_retry))
		return;
	if (unlikely(READ_ONCE(deferred.nr)))
		free_first();
}
TICK_HANDLER(look_at_tick);

static void epoch_retry(struct rcu_head *head);

static void arm(void)
{
	if (MUTANT(epoch_no_retry))	// no callback and no tick: what is deferred waits for a later `free`
		return;
	preempt_disable();	// whoever finds it armed relies on the call
	if (!xchg(&deferred.armed, 1))
		call_rcu(&deferred.rcu, epoch_retry);
	preempt_enable();
}

static void epoch_retry(struct rcu_head *head)
{
	xchg(&deferred.armed, 0);	// before the look: full barrier, pairs with arm() after a batch was added
	look_again();
	if (READ_ONCE(deferred.nr))
		arm();
}

// False: no memory. Otherwise the list ends empty. CPUs that have not been looked at are looked at now.
static bool defer(struct sample *s, struct list *tables)
{
	struct batch *b = kmalloc(sizeof(*b) + (s->n + (nr_cpus - s->next) * NESTINGS) * sizeof(struct stay));
	u64 nr = 0;
	irqflags_t flags;

	if (unlikely(!b))
		return false;
	list_for_each(it, tables)
		nr++;
	nr = (nr + PIECE - 1) / PIECE;
	list_init(&b->tables);
	list_splice(&b->tables, tables);
	for (b->n = 0; b->n < s->n; b->n++)
		b->stays[b->n] = s->stays[b->n];
	for (; s->next < nr_cpus; s->next++)
		b->n = add_walks(b->stays, b->n, s->next);
	count(free_deferred);
	fetch_add(&deferred.waiting, nr);
	flags = spin_lock_irqsave(&deferred.lock);
	list_push_back(&deferred.batches, &b->link);
	WRITE_ONCE(deferred.nr, deferred.nr + nr);
	spin_unlock_irqrestore(&deferred.lock, flags);
	arm();
	return true;
}

// ---- The freeing side -----------------------------------------------------------------------------------------------

// True: no walk is under way.
static bool begin_to_wait(struct sample *s, const struct space *space)
{
	s->next = s->n = 0;
	smp_mb();	// A: the entries are cleared before the words are read; pairs with epoch_enter()
	sample_more(s);
	if (!s->n)
		return true;
	STALL(epoch_sampled, space, 0, 0);	// walks were found; not yet looked at again
	count(free_polled);
	return false;
}

static void epoch_free(struct space *space, struct list *tables, const struct cpumask *proved)
{
	struct sample s;

	look_again();
	if (!begin_to_wait(&s, space) && !poll(&s, POLLS)) {
		if (likely(defer(&s, tables)))
			return;
		count(table_fallbacks);
		poll_on(&s);
	}
	tables_free(tables, &epoch_policy);
}

static void epoch_wait(struct space *space)
{
	struct sample s;

	if (!begin_to_wait(&s, space))
		poll_on(&s);
}

// Two grace periods are enough, whatever others defer meanwhile. After the first, the walks have ended that hold up what
// was deferred before it; so all of that is at the front of the list, and this look frees it, or another CPU has taken
// it off the list. After the second that CPU has freed it.
static void epoch_drain(void)
{
	if (!load_acquire(&deferred.waiting))	// pairs with free_first()
		return;
	synchronize_rcu();
	STALL(epoch_draining, NULL, 0, 0);	// no walk is left of those that hold up what is deferred
	look_again();
	synchronize_rcu();
}

DEFINE_TABLE_POLICY(epoch, "epoch",
	.lineage = "XNU's retype epochs on arm64",
	.walker = WALKER_PREEMPT_OFF,
	.waits = WAIT_OWN,
	.enter = epoch_enter,
	.exit = epoch_exit,
	.free = epoch_free,
	.wait = epoch_wait,
	.drain = epoch_drain);
