// SPDX-License-Identifier: MIT
// Vectors of buffers: what is refused, in Linux's order, and that the pieces are copied one after another.
#include "sys/iov.h"
#include "kernel/errno.h"
#include "kernel/lib.h"
#include "lab/test.h"
#include "mm/space.h"
#include "tests/mm/help.h"

#define LEN (4 * PAGE_SIZE)
#define HOLE (BASE + 2 * PAGE_SIZE)	// one page
#define KERNEL 0xffff800000001000ull

static struct space *enter(void)
{
	struct space *s = space_create();

	if (!EXPECT(s))
		return NULL;
	space_attach(s);
	EXPECT_EQ(space_map(s, BASE, LEN, RW, 1, 0), 0);
	EXPECT_EQ(space_unmap(s, HOLE, PAGE_SIZE), 0);
	return s;
}

static void leave(struct space *s)
{
	space_detach();
	space_put(s);
}

// What iovs_init() says of that array, stored at the beginning of the space.
static int init(struct iovs *v, const struct iov *array, u64 n)
{
	EXPECT_EQ(copy_out(BASE, array, n * sizeof(*array)), 0);
	return iovs_init(v, BASE, n);
}

static int refused(const struct iov *array, u64 n)
{
	struct iovs v;
	int err = init(&v, array, n);

	iovs_free(&v);
	return err;
}

TEST(iov, refused, 0)
{
	static const struct iov kernel_then_long[] = { { KERNEL, 1 }, { BASE, ~0ull } }, none[] = { { KERNEL, 0 } },
				across_the_end[] = { { USER_END - 2 * PAGE_SIZE, PAGE_SIZE + 1 } };
	struct space *s = enter();
	struct iovs v;

	if (!s)
		return;
	EXPECT_EQ(iovs_init(&v, KERNEL, IOV_MOST + 1), -EINVAL);
	EXPECT_EQ(iovs_init(&v, KERNEL, 1), -EFAULT);
	EXPECT_EQ(iovs_init(&v, HOLE, IOV_MOST), -EFAULT);
	iovs_free(&v);
	EXPECT_EQ(iovs_init(&v, KERNEL, 0), 0);
	EXPECT_EQ(refused(kernel_then_long, 2), -EINVAL);
	EXPECT_EQ(refused(kernel_then_long, 1), -EFAULT);
	EXPECT_EQ(refused(none, 1), -EFAULT);
	EXPECT_EQ(refused(across_the_end, 1), -EFAULT);
	EXPECT_EQ(iovs_init_one(&v, KERNEL, 0), -EFAULT);
	EXPECT_EQ(iovs_init_one(&v, BASE, ~0ull), -EFAULT);
	EXPECT_EQ(iovs_init_one(&v, 0, 0), 0);
	leave(s);
}

TEST(iov, at_most_so_many_bytes, 0)
{
	static const struct iov two[] = { { BASE, 1ull << 40 }, { BASE, 1ull << 40 } };
	struct space *s = enter();
	struct iovs v;

	if (!s)
		return;
	EXPECT_EQ(init(&v, two, 2), 0);
	EXPECT_EQ(v.left, IOV_BYTES_MOST);
	EXPECT_EQ(iovs_init_one(&v, BASE, 1ull << 40), 0);
	EXPECT_EQ(v.left, IOV_BYTES_MOST);
	leave(s);
}

// 20 pieces of 0, 1, 2, … bytes, more than fit without memory; copied by sevens.
static void twenty(struct iovs *v)
{
	struct iov array[20];

	for (unsigned i = 0; i < 20; i++)
		array[i] = (struct iov){ BASE + PAGE_SIZE + 40 * i, i };
	if (!EXPECT_EQ(init(v, array, 20), 0))
		return;
	EXPECT_EQ(v->left, 20 * 19 / 2);
}

TEST(iov, pieces, 0)
{
	struct space *s = enter();
	u8 out[190], in[190], one;
	struct iovs v;

	if (!s)
		return;
	for (unsigned i = 0; i < sizeof(out); i++)
		out[i] = (u8)(i + 1);
	twenty(&v);
	for (unsigned n, at = 0; v.left; at += n) {
		n = (unsigned)MIN(v.left, 7ull);
		EXPECT_EQ(iovs_copy_out(&v, out + at, n), 0);
	}
	iovs_free(&v);
	twenty(&v);
	EXPECT_EQ(iovs_copy_in(&v, in, sizeof(in)), 0);
	EXPECT_EQ(v.left, 0);
	iovs_free(&v);
	EXPECT(!memcmp(in, out, sizeof(in)));
	EXPECT_EQ(copy_in(&one, BASE + PAGE_SIZE + 40 * 19 + 18, 1), 0);	// the last byte of all
	EXPECT_EQ(one, 190);
	EXPECT_EQ(copy_in(&one, BASE + PAGE_SIZE + 40 * 19 + 19, 1), 0);
	EXPECT_EQ(one, 0);
	leave(s);
}

TEST(iov, fault, 0)
{
	static const struct iov array[] = { { HOLE - 4, 4 }, { HOLE, 4 } };
	struct space *s = enter();
	struct iovs v;
	u8 in[8];

	if (!s)
		return;
	EXPECT_EQ(init(&v, array, 2), 0);
	EXPECT_EQ(iovs_copy_in(&v, in, 8), -EFAULT);
	EXPECT_EQ(init(&v, array, 2), 0);
	EXPECT_EQ(iovs_copy_in(&v, in, 4), 0);
	EXPECT_EQ(iovs_copy_out(&v, in, 1), -EFAULT);
	leave(s);
}
