// SPDX-License-Identifier: MIT
// getrandom(). The flags ask for bytes of different quality, or not to wait for it; here all are of the same quality,
// and there is no wait for something that may not come (kernel/random.h).
#include "kernel/random.h"
#include "kernel/lib.h"
#include "sys/iov.h"
#include "sys/syscall.h"
#include <arch/pte.h>
#include <arch/uaccess.h>

enum { GRND_ALL = 7, GRND_RANDOM = 2, GRND_INSECURE = 4, SOME = 256 };

// Linux gives the bytes in front of one that cannot be stored.
static u64 store(vaddr_t to, const u8 *bytes, u64 n)
{
	u64 done = 0;

	if (!copy_out(to, bytes, n))
		return n;
	while (done < n && !copy_out(to + done, bytes + done, 1))
		done++;
	return done;
}

static s64 sys_getrandom(struct task *t, const u64 a[6])
{
	u32 flags = (u32)a[2];
	u8 bytes[SOME];
	struct iovs v;
	u64 done = 0;

	if (flags & ~(u32)GRND_ALL || (flags & (GRND_RANDOM | GRND_INSECURE)) == (GRND_RANDOM | GRND_INSECURE))
		return -EINVAL;
	if (iovs_init_one(&v, a[0], MIN(a[1], IOV_BYTES_MOST)))	// a length that read() would refuse is cut
		return -EFAULT;
	while (done < v.left) {
		u64 n = MIN(v.left - done, (u64)SOME), stored;

		random_bytes(bytes, n);
		stored = store(a[0] + done, bytes, n);
		done += stored;
		if (stored < n)
			return done ? (s64)done : -EFAULT;
		if (done % PAGE_SIZE == 0 && task_interrupted())
			break;
	}
	return (s64)done;
}
SYSCALL(318, getrandom, sys_getrandom);
