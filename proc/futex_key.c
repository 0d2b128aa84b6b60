// SPDX-License-Identifier: MIT
// What a futex's word belongs to. A private futex belongs to (space, address). So does a shared one on private memory, but
// with a mark: as on Linux, private waiters there are not woken by a shared wake, nor the other way round. One on a
// shared mapping belongs to (object, offset), so that all mappings of the object lead to the same waiters. None to a frame:
// the kernel may replace a page's frame (collapse) while waiters sleep.
//
// The shared look-up races with munmap() and the like in other threads. walk_pin() shows that the page is there with the
// access that is wanted, or faults it in; then the region at that address is found under the space's lock. The two looks
// may see different mappings. Only the second says what the word belongs to: that is true at one instant during the
// call, and a caller whose program changes the mapping meanwhile can ask for no more. If there is no region any more, the
// call fails as if it had come later. Of the first only "it could be reached" is used; nothing is read or written by way of
// the pin, so it does not matter what has become of its page.
//
// The key stays right for as long as it is used, whatever happens to the mapping:
//  * A space is named by its root's frame (which, unlike its address, is the same in each run of the host build under one
//    seed). It is not reused while a thread waits with it: the waiter runs in the space.
//  * An object's number is never reused.
// After an munmap() the waiters can still be woken through another mapping of the object; those on private memory
// cannot, as on Linux.
#include "proc/futex_key.h"
#include "kernel/errno.h"
#include "mm/object.h"
#include "mm/region.h"
#include "mm/walk.h"

static struct futex_key key_of_object(const struct region *r, vaddr_t va)
{
	return (struct futex_key){ .owner = r->object->id << 1 | 1, .offset = r->offset + (va - r->start) };
}

// On Linux a private page that cannot be written to is no shared futex: it could not change.
static __always_inline struct futex_key key_of_region(struct space *s, const struct region *r, vaddr_t va, bool writable)
{
	if (unlikely(!r))
		return futex_no_key(-EFAULT);
	if (r->object)
		return key_of_object(r, va);
	return likely(writable) ? futex_key_private(s, va | FUTEX_SHARED) : futex_no_key(-EFAULT);
}

// The page is pinned.
static __always_inline struct futex_key look_up(struct space *s, vaddr_t va, bool writable, struct page *page)
{
	struct futex_key key;

	mutex_lock(&s->lock);
	key = key_of_region(s, region_find(s, va), va, writable);
	mutex_unlock(&s->lock);
	page_unpin(page, false);
	return key;
}

static __noinline struct futex_key shared_slow(struct space *s, vaddr_t va, enum futex_access access)
{
	struct page *page;
	int err = walk_pin(s, va, true, &page);
	bool writable = !err;

	if (err == -EFAULT && access == FUTEX_READ)
		err = walk_pin(s, va, false, &page);
	return err ? futex_no_key(err) : look_up(s, va, writable, page);
}

struct futex_key futex_key_shared(struct space *s, vaddr_t va, enum futex_access access)
{
	struct page *page = walk_pin_try(s, va, true);

	return likely(page) ? look_up(s, va, true, page) : shared_slow(s, va, access);
}
