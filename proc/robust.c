// SPDX-License-Identifier: MIT
// A task's end, as other tasks see it in memory.
//
// The robust list is the program's, and it may contain anything: every pointer is copied in, a list that ends nowhere is
// left after ROBUST_MOST entries, and whatever cannot be read or written ends the walk. Only the task's own words are
// touched: the owner's number in a word must be its own.
//
//	head: next, offset of the word from its entry, pending	 entry: next, … word
//
// Bit 0 of a pointer to an entry: a mutex with priority inheritance. Its waiters sleep in the kernel's PI code, of which
// there is none here, so nobody is woken.
#include "proc/robust.h"
#include "kernel/errno.h"
#include "proc/futex.h"
#include "proc/task.h"
#include <arch/uaccess.h>

#define ROBUST_MOST 2048
#define FUTEX_WAITERS 0x80000000u
#define FUTEX_OWNER_DIED 0x40000000u
#define FUTEX_TID 0x3fffffffu

struct robust_head {		// as Linux's struct robust_list_head
	u64 next;
	s64 word_offset;
	u64 pending;		// an entry that is being put into the list or taken out of it
};
_Static_assert(sizeof(struct robust_head) == ROBUST_HEAD_SIZE, "Linux's");

struct entry {
	vaddr_t at;
	bool pi;
};
static struct entry entry_of(u64 pointer) { return (struct entry){ .at = pointer & ~1ull, .pi = pointer & 1 }; }

// Take the word, which was *word, from its dead owner; 0: it owned nothing. False: it cannot be written. The exchange
// decides against user mode and whoever else changes the word.
static bool mark_dead(struct task *t, vaddr_t va, u32 *word)
{
	u32 found = *word;

	while ((found & FUTEX_TID) == t->tid) {
		*word = found;
		if (arch_user_cmpxchg32(va, *word, (*word & FUTEX_WAITERS) | FUTEX_OWNER_DIED, &found))
			return false;
		if (found == *word)
			return true;
	}
	*word = 0;
	return true;
}

// One futex. A pending one whose word names no owner: the task died after it had unlocked, before it had woken a waiter.
// It is done for the task, at most once too often. False: end the walk.
static bool release(struct task *t, struct entry e, s64 offset, bool pending)
{
	vaddr_t va = e.at + (u64)offset;
	u32 word;

	if (va % sizeof(u32) || arch_user_read32(va, &word))
		return false;
	if (pending && !e.pi && !(word & FUTEX_TID)) {
		futex_wake(va, true, 1, FUTEX_ANY);
		return true;
	}
	if (!mark_dead(t, va, &word))
		return false;
	if (!e.pi && word & FUTEX_WAITERS)
		futex_wake(va, true, 1, FUTEX_ANY);
	return true;
}

// The next entry is read before this one's word is released: then its new owner may change the list.
static void walk_list(struct task *t, const struct robust_head *head)
{
	struct entry e = entry_of(head->next), pending = entry_of(head->pending);

	for (unsigned i = 0; e.at != t->robust_list && i < ROBUST_MOST; i++) {
		u64 next;
		bool more = !copy_in(&next, e.at, sizeof(next));

		if (e.at != pending.at && !release(t, e, head->word_offset, false))
			return;
		if (!more)
			return;
		e = entry_of(next);
	}
	if (pending.at)
		release(t, pending, head->word_offset, true);
}

static void release_robust(struct task *t)
{
	struct robust_head head;

	if (t->robust_list && !copy_in(&head, t->robust_list, sizeof(head)))
		walk_list(t, &head);
	t->robust_list = 0;
}

static void clear_tid(struct task *t)
{
	static const u32 zero;
	vaddr_t va = t->clear_tid;

	t->clear_tid = 0;
	if (!va || copy_out(va, &zero, sizeof(zero)))
		return;
	futex_wake(va, true, 1, FUTEX_ANY);
}

void futex_task_ends(struct task *t)
{
	release_robust(t);
	clear_tid(t);
}
