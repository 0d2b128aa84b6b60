// SPDX-License-Identifier: MIT
// The steps in which a grace period begins (kernel/rcu.c, property 1): the sequence says so before any CPU's bit is set, and the
// root's bits are set before those of any leaf.
#include "kernel/rcu_internal.h"
#include "kernel/stall.h"
#include "kernel/test.h"

#if CHECK
STALL_DECLARE(rcu_gp_setting);

struct begun {
	bool running;		// a CPU that reports by now reports to this grace period
	u32 root;		// its bits; where it is the only leaf some may be gone already
};

static void note_how_it_begins(struct stall_point *p, void *arg)
{
	struct begun *b = arg;

	b->root = READ_ONCE(rcu.root->waiting);
	b->running = rcu_seq_running(READ_ONCE(rcu.seq));
}

TEST(rcu, sequence_then_root_then_leaves, 0)
{
	struct begun b = { .running = false };

	stall_rcu_gp_setting.action = note_how_it_begins;
	stall_rcu_gp_setting.arg = &b;
	stall_arm(&stall_rcu_gp_setting, NULL, 0, 0, 0);
	synchronize_rcu();
	stall_release(&stall_rcu_gp_setting);
	EXPECT(b.running);
	if (rcu.nr_nodes > 1)
		EXPECT_EQ(b.root, rcu.root->children);
}
#endif
