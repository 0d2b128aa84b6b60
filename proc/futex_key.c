// SPDX-License-Identifier: MIT
// What a futex's word belongs to. A private futex, and a shared one on private memory, belong to (space, address); one on
// a shared mapping to (object, offset), so that all mappings of the object lead to the same waiters. Never to a frame:
// the kernel may replace a page's frame (collapse) while waiters sleep.
//
// The shared lookup races with munmap() and the like in other threads. walk_pin() shows that the page is there, or faults
// it in; the space's lock is then taken, and the region found under it decides. The two looks may see different mappings,
// and only the second counts: the answer is true at one instant during the call, the look under the lock, and that
// is as much as a caller whose program changes the mapping meanwhile can ask for. If there is no region any more, or none
// that permits the access, the call fails as if it had come later. The pin only says that the word can be reached;
// nothing is read or written through it, so it does not matter what has become of its page.
//
// The key stays right for as long as it is used, whatever happens to the mapping:
//  * A space's address is not reused while a thread waits with it: the waiter runs in the space.
//  * An object's number is never reused.
// After an munmap() the waiters can still be woken through another mapping of the object; those on private memory
// cannot, as on Linux.
#include "proc/futex.h"
#include "kernel/errno.h"
#include "kernel/thread.h"
#include "mm/region.h"
#include "mm/space.h"
#include "mm/walk.h"

// Bit 0 of an owner tells the two apart; a space is aligned to more.
static struct futex_key key_of_space(struct space *s, vaddr_t va)
{
	return (struct futex_key){ .owner = (uintptr_t)s, .offset = va };
}

// Under the space's lock. On Linux a private page that cannot be written to is no shared futex: it could not change.
static int key_of_region(struct space *s, vaddr_t va, bool writable, struct futex_key *key)
{
	struct region *r = region_find(s, va);

	if (!r || !(r->prot & PROT_R))
		return -EFAULT;
	if (!writable)
		return -EFAULT;
	*key = key_of_space(s, va);
	return 0;
}

static int shared_key(struct space *s, vaddr_t va, enum futex_access access, struct futex_key *key)
{
	struct page *page;
	int err = walk_pin(s, va, true, &page);
	bool writable = !err;

	if (err == -EFAULT && access == FUTEX_READ)
		err = walk_pin(s, va, false, &page);
	if (err)
		return err;
	mutex_lock(&s->lock);
	err = key_of_region(s, va, writable, key);
	mutex_unlock(&s->lock);
	page_unpin(page, false);
	return err;
}

int futex_key(vaddr_t va, bool shared, enum futex_access access, struct futex_key *key)
{
	struct space *s = current->space;

	if (va % sizeof(u32))
		return -EINVAL;
	if (!s || va > USER_END - sizeof(u32))
		return -EFAULT;
	if (shared)
		return shared_key(s, va, access, key);
	*key = key_of_space(s, va);
	return 0;
}
