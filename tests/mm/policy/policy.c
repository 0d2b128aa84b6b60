// SPDX-License-Identifier: MIT
// The registry of policies and back-ends, and the verdict, which is computed and never listed.
#include "kernel/lib.h"
#include "lab/test.h"
#include "tests/mm/help.h"

TEST(policy, found_by_name, 0)
{
	static const char *const names[] = { "immediate", "ipi", "rcu", "rcu-sync", "rcu-page", "rcu-proxy", "targeted", "auto",
		"hazard", "epoch", "keep" };

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		const struct table_policy *p = policy_find(names[i]);

		REQUIRE(p);
		EXPECT(!strcmp(p->name, names[i]));
	}
	EXPECT(flush_find("ipi"));
	EXPECT(!policy_find("") && !policy_find("rc") && !policy_find("rcuu") && !policy_find("none"));
	EXPECT(!flush_find("") && !flush_find("rcu"));
	EXPECT(!flush_find("none"));	// the tests' own back-end is not for the command line
}

// Each policy has the operations that it needs: a missing one would be noticed only when it is called.
TEST(policy, complete, 0)
{
	FOR_EACH_POLICY(it) {
		const struct table_policy *p = *it;

		EXPECT(p->name && p->lineage && p->free && p->walk && p->walk_one[0] && p->walk_one[1]);
		EXPECT(p->wait || p->waits == WAIT_FLUSH);
		EXPECT(policy_find(p->name) == p);	// no two have one name
	}
	FOR_EACH_BACKEND(it) {
		const struct flush_backend *b = *it;

		EXPECT(b->name && b->flush);
		EXPECT(!b->defer || (b->sweep && b->settle && b->wait && b->hurry && b->drain));
		EXPECT(flush_find((*it)->name) == *it);
	}
}

static bool safe(const char *policy, const struct flush_backend *b)
{
	struct verdict v = pair_verdict(policy_find(policy), b);

	EXPECT(v.reason && *v.reason);
	return v.safe;
}

TEST(policy, verdict, 0)
{
	const struct flush_backend proves = { .name = "proves", .proves_irqs_off_walks_ended = true };

	FOR_EACH_BACKEND(it) {
		EXPECT(!safe("immediate", *it));
		EXPECT(safe("rcu", *it) && safe("rcu-sync", *it) && safe("rcu-page", *it));
		EXPECT(safe("rcu-proxy", *it) && safe("targeted", *it) && safe("auto", *it) && safe("hazard", *it));
		EXPECT(safe("epoch", *it) && safe("keep", *it));
		EXPECT_EQ(safe("ipi", *it), (*it)->proves_irqs_off_walks_ended);
	}
	EXPECT(safe("ipi", flush_find("ipi")));
	EXPECT(safe("ipi", &proves));
	EXPECT(!safe("ipi", &mm_flush_none));
	EXPECT(safe("rcu", &mm_flush_none));
	EXPECT(!safe("immediate", &mm_flush_none));
	EXPECT(!safe("immediate", &proves));
}

// Each input of the verdict by itself, on policies that differ in nothing else.
TEST(policy, verdict_is_computed, 0)
{
	struct table_policy p = { .name = "made up" };
	struct flush_backend b = { .name = "made up" };

	for (unsigned i = 0; i < 16; i++) {
		bool irqs_off = i & 1, proves = i & 2, targets = i & 4, reports = i & 8;

		p.walker = irqs_off ? WALKER_IRQS_OFF : WALKER_PREEMPT_OFF;
		p.walkers_are_targets = targets;
		b.proves_irqs_off_walks_ended = proves;
		b.reports = reports;
		p.waits = WAIT_FLUSH;
		EXPECT_EQ(pair_verdict(&p, &b).safe, irqs_off && proves && targets);
		p.waits = WAIT_REST;
		EXPECT_EQ(pair_verdict(&p, &b).safe, irqs_off || !reports);
		p.waits = WAIT_OWN;
		EXPECT(pair_verdict(&p, &b).safe);
	}
}

TEST(policy, default_pair, 0)
{
	EXPECT(policy_default() && flush_default());
	EXPECT(policy_find(policy_current_name()) == policy_default());
	EXPECT(flush_find(flush_current_name()) == flush_default());
	EXPECT(allow_unsafe() || pair_verdict(policy_default(), flush_default()).safe);	// otherwise the boot is refused
}
