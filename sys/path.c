// SPDX-License-Identifier: MIT
// System calls that name a file. There are no files yet: each path is looked up, and nothing is found. C libraries ask
// for some when they start, and do without. What exists are the descriptors 0 to 2, which fstat() describes.
#include "kernel/lib.h"
#include "mm/frame/slab.h"
#include "sys/console.h"
#include "sys/syscall.h"
#include <arch/pte.h>
#include <arch/uaccess.h>

enum { PATH_MOST = 4096, AT_FDCWD = -100, AT_SYMLINK_NOFOLLOW = 0x100, AT_NO_AUTOMOUNT = 0x800,
	AT_EMPTY_PATH = 0x1000 };

// The first two characters decide, but a path that cannot be read or is too long has errors of its own: its length, or
// one of them.
static s64 path_in(vaddr_t path, char first[2])
{
	char *all = kmalloc(PATH_MOST);
	s64 len;

	if (!all)
		return -ENOMEM;
	len = copy_in_string(all, path, PATH_MOST);
	if (len >= 0)
		memcpy(first, all, 2);
	kfree(all);
	return len == -ERANGE ? -ENAMETOOLONG : len;
}

// Where does a relative path begin? Not in a file, and the working directory is one that holds nothing.
static s64 look_up(struct task *t, s32 dir, vaddr_t path)
{
	char first[2];
	s64 len = path_in(path, first);

	if (len < 0)
		return len;
	if (!len || first[0] == '/' || dir == AT_FDCWD)
		return -ENOENT;
	return fd_is_open(t, (u32)dir) ? -ENOTDIR : -EBADF;
}

static s64 sys_open(struct task *t, const u64 a[6]) { return look_up(t, AT_FDCWD, a[0]); }
SYSCALL(2, open, sys_open);
static s64 sys_openat(struct task *t, const u64 a[6]) { return look_up(t, (s32)a[0], a[1]); }
SYSCALL(257, openat, sys_openat);
static s64 sys_access(struct task *t, const u64 a[6])
{
	return (u32)a[1] & ~7u ? -EINVAL : look_up(t, AT_FDCWD, a[0]);
}
SYSCALL(21, access, sys_access);

static s64 sys_readlink(struct task *t, const u64 a[6])
{
	return (s32)a[2] <= 0 ? -EINVAL : look_up(t, AT_FDCWD, a[0]);
}
SYSCALL(89, readlink, sys_readlink);

static s64 sys_readlinkat(struct task *t, const u64 a[6])
{
	return (s32)a[3] <= 0 ? -EINVAL : look_up(t, (s32)a[0], a[1]);
}
SYSCALL(267, readlinkat, sys_readlinkat);

struct stat {			// as Linux's
	u64 dev, ino, nlink;
	u32 mode, uid, gid, pad;
	u64 rdev;
	s64 size, blksize, blocks;
	struct { u64 s, ns; } atime, mtime, ctime;
	s64 unused[3];
};
_Static_assert(sizeof(struct stat) == 144, "Linux's struct stat");
#define S_IFIFO 0010000u

static s64 stat_fd(struct task *t, u32 fd, vaddr_t to)
{
	struct stat s = { .dev = 1, .ino = fd + 1, .nlink = 1, .mode = S_IFIFO | 0600, .blksize = PAGE_SIZE };

	if (!fd_is_open(t, fd))
		return -EBADF;
	return copy_out(to, &s, sizeof(s));
}

static s64 sys_fstat(struct task *t, const u64 a[6]) { return stat_fd(t, (u32)a[0], a[1]); }
SYSCALL(5, fstat, sys_fstat);
static s64 sys_stat(struct task *t, const u64 a[6]) { return look_up(t, AT_FDCWD, a[0]); }
SYSCALL(4, stat, sys_stat);
static s64 sys_lstat(struct task *t, const u64 a[6]) { return look_up(t, AT_FDCWD, a[0]); }
SYSCALL(6, lstat, sys_lstat);

static s64 sys_newfstatat(struct task *t, const u64 a[6])
{
	s32 dir = (s32)a[0], flags = (s32)a[3];
	char first[2];
	s64 len;

	if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH))
		return -EINVAL;
	if (flags & AT_EMPTY_PATH && dir >= 0) {
		len = a[1] ? path_in(a[1], first) : 0;
		if (len <= 0)
			return len ?: stat_fd(t, (u32)dir, a[2]);
	}
	return look_up(t, dir, a[1]);
}
SYSCALL(262, newfstatat, sys_newfstatat);
