// SPDX-License-Identifier: MIT
// Futexes: waiters in buckets, found by the hash of their key.
//
//	bucket            waiter            waiter (of another key)
//	lock, waiters --> key, bitset -->   ...                        in order of arrival
//
// No wake-up is lost (tests/models/futex.pml). The program changes the word, then calls futex_wake(); the waiter looks at the
// word and sleeps if it finds the old value.
//
//	waiter					waker
//	W1 bucket.waiters + 1			K1 store to the word (in user mode)
//	W2 lock the bucket			K2 full barrier
//	W3 read the word			K3 bucket.waiters == 0: return, nobody to be woken
//	W4 changed: waiters - 1, unlock, leave	K4 lock the bucket
//	W5 enqueue, unlock, sleep		K5 take waiters out, complete them, unlock
//
//  * W1 is a full barrier, between the count and W3. K2 stands between the word and K3. So (store buffering) either the
//    waker sees the count, or the waiter sees the new word and does not sleep.
//  * If the waker sees the count, both take the lock. If the waiter is first, K5 finds it. If the waker is first, W3
//    comes after K5 and so after K1, and sees the new word.
//  * The count goes down (W4, K5, leaving) only under the lock and with the waiter's end, so it is 0 only if nobody who
//    could sleep is in the bucket or on its way into it.
//
// The word is read with the lock held, preemption off, so the read must not fault. If the page is not present, the waiter
// gives up everything, faults it in, and begins anew.
//
// What keeps a waiter alive: it is on the stack of a thread that leaves only when it has taken itself out of its bucket,
// under the lock, or has seen its completion. A waker takes the waiter out and completes it under the lock, and the
// completion is the last of the waiter that it touches (complete() allows that).
#include "proc/futex.h"
#include "kernel/errno.h"
#include "kernel/list.h"
#include "kernel/mutex.h"
#include "kernel/thread.h"
#include "lab/mutant.h"
#include "lab/stall.h"
#include "mm/space.h"
#include "proc/fault.h"
#include "proc/futex_key.h"
#include "proc/task.h"
#include "sys/syscall.h"
#include <arch/uaccess.h>

#define BUCKET_BITS 8

struct bucket {
	u32 waiters;		// in the list, or on their way into it. Read without the lock
	struct spinlock lock;
	struct list list;
} __cacheline;
static struct bucket buckets[1 << BUCKET_BITS];

struct futex_waiter {
	struct list link;		// bucket's lock
	struct bucket *bucket;		// where it is; NULL: a waker has taken it out. Changes under the lock of the bucket
	struct futex_key key;		// bucket's lock
	u32 bitset;
	struct completion woken;
};

void futex_init(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(buckets); i++) {
		spin_init(&buckets[i].lock, "futex", RANK_FUTEX);
		list_init(&buckets[i].list);
	}
}

u64 futex_waiters(void)
{
	u64 n = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(buckets); i++)
		n += READ_ONCE(buckets[i].waiters);
	return n;
}

static __always_inline struct bucket *bucket_of(const struct futex_key *key)
{
	u64 h = (key->owner >> 6 ^ key->offset >> 2) * 0x9e3779b97f4a7c15;	// 2^64 over the golden ratio

	return &buckets[h >> (64 - BUCKET_BITS)];
}

static inline bool same_key(const struct futex_key *a, const struct futex_key *b)
{
	return a->owner == b->owner && a->offset == b->offset;
}

// Announce a waiter that will be put into the bucket, before its lock is taken: a waker that looks without the lock must
// not pass by. A full barrier.
static void bucket_expect(struct bucket *b) { fetch_add(&b->waiters, 1); }
static void bucket_expect_no_more(struct bucket *b) { fetch_sub(&b->waiters, 1); }

// Two locks, in order of address.
static void lock_both(struct bucket *a, struct bucket *b)
{
	spin_lock(&MIN(a, b)->lock);
	if (a != b)
		spin_lock_nested(&MAX(a, b)->lock);
}

static void unlock_both(struct bucket *a, struct bucket *b)
{
	if (a != b)
		spin_unlock(&MAX(a, b)->lock);
	spin_unlock(&MIN(a, b)->lock);
}

// Out of its bucket, whose lock is held.
static void take_out(struct futex_waiter *w)
{
	struct bucket *b = w->bucket;

	list_remove(&w->link);
	WRITE_ONCE(w->bucket, NULL);
	bucket_expect_no_more(b);
}

// Wake up to n waiters of that key, but at least one. The bucket's lock is held.
static s32 wake_locked(struct bucket *b, const struct futex_key *key, s32 n, u32 bitset)
{
	s32 woken = 0;

	list_for_each_safe(it, &b->list) {
		struct futex_waiter *w = list_entry(it, struct futex_waiter, link);

		if (!same_key(&w->key, key) || !(w->bitset & bitset))
			continue;
		take_out(w);
		complete(&w->woken);	// the last touch: it may be gone
		if (++woken >= n)
			break;
	}
	return woken;
}

static __noinline s64 wake_in(struct bucket *b, struct futex_key key, s32 n, u32 bitset)
{
	s64 woken;

	STALL(futex_sees_waiters, NULL, key.offset, 0);
	spin_lock(&b->lock);
	woken = wake_locked(b, &key, n, bitset);
	spin_unlock(&b->lock);
	return woken;
}

// The usual case first: nobody waits. A full barrier lies between the word, which the program has changed, and the look at
// the count; it pairs with bucket_expect().
static __always_inline s64 wake(struct futex_key key, s32 n, u32 bitset)
{
	struct bucket *b = bucket_of(&key);

	return likely(!READ_ONCE(b->waiters)) ? 0 : wake_in(b, key, n, bitset);
}

static __noinline s64 wake_shared(vaddr_t va, s32 n, u32 bitset)
{
	struct futex_key key = futex_key_shared(current->space, va, FUTEX_READ);
	int err = futex_key_error(key);

	smp_mb_after_lock();		// the space's, which the look-up has taken and released. K2, pairs with W1
	return unlikely(err) ? err : wake(key, n, bitset);
}

s64 futex_wake(vaddr_t va, bool shared, s32 n, u32 bitset)
{
	int err = futex_check(va);

	if (unlikely(err || !bitset))
		return err ?: -EINVAL;
	if (shared)
		return wake_shared(va, n, bitset);
	smp_mb();			// K2, pairs with W1 in bucket_expect()
	return wake(futex_key_private(current->space, va), n, bitset);
}

// Make the page of a word present; its owner may take it away again at once.
static s64 fault_in(vaddr_t va, enum futex_access access)
{
	int err;

	do
		err = space_fault_current(va, access == FUTEX_WRITE);
	while (err == -ENOMEM && task_memory_freed());
	return err;
}

// Into the bucket of its key, if the word is `expected`: 0. -EFAULT: the page is not present.
static s64 enqueue(struct futex_waiter *w, vaddr_t va, u32 expected)
{
	struct bucket *b = bucket_of(&w->key);
	u32 word = 0;
	s64 err;

	if (!MUTANT(futex_late_count))
		bucket_expect(b);
	STALL(futex_counted, NULL, va, 0);	// the bucket expects the waiter, which has not looked at the word
	spin_lock(&b->lock);
	err = arch_user_read32_nofault(va, &word);
	if (!err && word != expected)
		err = -EAGAIN;
	STALL(futex_compared, NULL, va, 0);
	if (MUTANT(futex_late_count))
		bucket_expect(b);
	if (err) {
		bucket_expect_no_more(b);
	} else {
		w->bucket = b;
		list_push_back(&b->list, &w->link);
	}
	spin_unlock(&b->lock);
	return err;
}

// The waiter gives up. False: a waker has been first. A waker, or who requeues, may change `bucket` before we have its
// lock; under the lock of the bucket that it names, it is stable.
static bool give_up(struct futex_waiter *w)
{
	struct bucket *b;

	STALL(futex_gives_up, NULL, w->key.offset, 0);
	while ((b = READ_ONCE(w->bucket))) {
		bool ours;

		spin_lock(&b->lock);
		ours = w->bucket == b;
		if (ours)
			take_out(w);
		spin_unlock(&b->lock);
		if (ours)
			return true;
	}
	return false;
}

// In the bucket: sleep.
static s64 sleep(struct futex_waiter *w, u64 deadline_ns)
{
	struct completion *c = &w->woken;
	bool woken = false;
	int err = wait_event_until(&c->q, (woken = try_wait_for_completion(c)) || task_interrupted(), deadline_ns);

	if (woken)
		return 0;
	if (give_up(w))
		return err ?: -ERESTARTSYS;
	wait_for_completion(c);		// the waker that has taken us out is about to complete us, or has
	return 0;
}

// Look at the word, and into the bucket; what is not present is faulted in.
static s64 begin_wait(struct futex_waiter *w, vaddr_t va, bool shared, u32 expected)
{
	s64 err;

	do {
		w->key = futex_key(va, shared, FUTEX_READ);
		err = futex_key_error(w->key);
		if (err)
			return err;
		err = enqueue(w, va, expected);
		if (err != -EFAULT)
			return err;
		err = fault_in(va, FUTEX_READ);
	} while (!err);
	return err;
}

s64 futex_wait(vaddr_t va, bool shared, u32 expected, u32 bitset, u64 deadline_ns)
{
	struct futex_waiter w = { .bitset = bitset };
	s64 err;

	if (!bitset)
		return -EINVAL;
	completion_init(&w.woken);
	err = begin_wait(&w, va, shared, expected);
	return err ?: sleep(&w, deadline_ns);
}

// A waiter now waits at another key. Both buckets' locks are held.
static void move(struct futex_waiter *w, const struct futex_key *key, struct bucket *to)
{
	struct bucket *from = w->bucket;

	w->key = *key;
	if (from == to)
		return;			// where it stands: the caller's loop must not meet it again
	bucket_expect(to);
	list_remove(&w->link);
	list_push_back(&to->list, &w->link);
	WRITE_ONCE(w->bucket, to);
	bucket_expect_no_more(from);
}

static s32 requeue_locked(struct bucket *from, const struct futex_key *key, struct bucket *to,
			  const struct futex_key *to_key, s32 wake, s32 requeue)
{
	s32 done = 0;

	list_for_each_safe(it, &from->list) {
		struct futex_waiter *w = list_entry(it, struct futex_waiter, link);

		if (done - wake >= requeue)
			break;
		if (!same_key(&w->key, key))
			continue;
		if (done++ < wake) {
			take_out(w);
			complete(&w->woken);	// the last touch
			STALL(futex_requeue_wakes, NULL, key->offset, 0);
		} else {
			move(w, to_key, to);
		}
	}
	return done;
}

static s64 compare(vaddr_t va, const u32 *expected)
{
	u32 word;
	int err = expected ? arch_user_read32_nofault(va, &word) : 0;

	return err ?: expected && word != *expected ? -EAGAIN : 0;
}

// One try; -EFAULT: the word to be compared is not present.
//
// `to` expects waiters from before the locks are taken. Otherwise a waiter that is woken here could call futex_wake()
// for `to` while those behind it have not arrived there: it would look at the count without the lock, find 0, and pass
// by; and they would sleep on, though to the program the call that moves them came first.
static s64 try_requeue(vaddr_t va, const struct futex_key *key, const struct futex_key *to_key, s32 wake, s32 requeue,
		       const u32 *expected)
{
	struct bucket *from = bucket_of(key), *to = bucket_of(to_key);
	bool announced = true;
	s64 result;

	if (MUTANT(futex_requeue_unannounced))
		announced = false;
	if (announced)
		bucket_expect(to);
	lock_both(from, to);
	result = compare(va, expected);
	if (!result)
		result = requeue_locked(from, key, to, to_key, wake, requeue);
	if (announced)
		bucket_expect_no_more(to);
	unlock_both(from, to);
	return result;
}

s64 futex_requeue(vaddr_t from, vaddr_t to, bool shared, s32 wake, s32 requeue, const u32 *expected)
{
	struct futex_key key, to_key;
	s64 result;

	if (wake < 0 || requeue < 0)
		return -EINVAL;
	do {
		key = futex_key(from, shared, FUTEX_READ);
		to_key = futex_key(to, shared, FUTEX_READ);
		result = futex_key_error(key) ?: futex_key_error(to_key);
		if (result)
			return result;
		result = try_requeue(from, &key, &to_key, wake, requeue, expected);
		if (result != -EFAULT)
			return result;
		result = fault_in(from, FUTEX_READ);
	} while (!result);
	return result;
}

// What FUTEX_WAKE_OP's last argument means (futex(2)).
enum { OP_SET, OP_ADD, OP_OR, OP_ANDN, OP_XOR, NR_OPS, OP_SHIFTED = 8 };
enum { CMP_EQ, CMP_NE, CMP_LT, CMP_LE, CMP_GT, CMP_GE };
static s32 signed12(u32 field) { return (s32)(field << 20) >> 20; }
static u32 op_kind(u32 op) { return op >> 28 & 7; }
static u32 op_operand(u32 op)
{
	u32 arg = (u32)signed12(op >> 12);

	return op >> 28 & OP_SHIFTED ? 1u << (arg & 31) : arg;
}

static u32 op_apply(u32 op, u32 word)
{
	u32 arg = op_operand(op);

	switch (op_kind(op)) {
	case OP_SET: return arg;
	case OP_ADD: return word + arg;
	case OP_OR: return word | arg;
	case OP_ANDN: return word & ~arg;
	default: return word ^ arg;
	}
}

// 0 or 1; -ENOSYS: there is no such comparison.
static int op_compare(u32 op, u32 word)
{
	s32 old = (s32)word, arg = signed12(op);

	switch (op >> 24 & 15) {
	case CMP_EQ: return old == arg;
	case CMP_NE: return old != arg;
	case CMP_LT: return old < arg;
	case CMP_LE: return old <= arg;
	case CMP_GT: return old > arg;
	case CMP_GE: return old >= arg;
	default: return -ENOSYS;
	}
}

// Change the word; does the comparison hold for what was there? An unknown one is found out only after the change, as on
// Linux. -EFAULT: the page is not present, or must not be written.
static int op_execute(vaddr_t va, u32 op)
{
	u32 word, old;
	int err;

	if (op_kind(op) >= NR_OPS)
		return -ENOSYS;
	err = arch_user_read32_nofault(va, &word);
	while (!err) {
		old = word;
		err = arch_user_cmpxchg32_nofault(va, old, op_apply(op, old), &word);
		if (!err && word == old)
			return op_compare(op, old);
	}
	return err;
}

// The second word is changed under its bucket's lock: a waiter for it either is in the bucket, or looks at the word later.
static s64 try_wake_op(vaddr_t va2, const struct futex_key *key, const struct futex_key *key2, s32 wake, s32 wake2, u32 op)
{
	struct bucket *b = bucket_of(key), *b2 = bucket_of(key2);
	s64 result;
	int holds;

	lock_both(b, b2);
	result = holds = op_execute(va2, op);
	if (holds >= 0)
		result = wake_locked(b, key, wake, FUTEX_ANY);
	if (holds > 0)
		result += wake_locked(b2, key2, wake2, FUTEX_ANY);
	unlock_both(b, b2);
	return result;
}

s64 futex_wake_op(vaddr_t va, vaddr_t va2, bool shared, s32 wake, s32 wake2, u32 op)
{
	struct futex_key key, key2;
	s64 result;

	do {
		key = futex_key(va, shared, FUTEX_READ);
		key2 = futex_key(va2, shared, FUTEX_WRITE);
		result = futex_key_error(key) ?: futex_key_error(key2);
		if (result)
			return result;
		result = try_wake_op(va2, &key, &key2, wake, wake2, op);
		if (result != -EFAULT)
			return result;
		result = fault_in(va2, FUTEX_WRITE);
	} while (!result);
	return result;
}
