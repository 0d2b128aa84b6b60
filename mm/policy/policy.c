// SPDX-License-Identifier: MIT
// The registry of policies, and the command-line key that chooses one.
#include "mm/policy/policy.h"
#include "kernel/cmdline.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/rcu/rcu.h"
#include "mm/flush/flush.h"

static const struct table_policy *chosen_policy;	// a new space's; NULL: the built-in default
static bool named;

const struct table_policy *policy_find(const char *name)
{
	FOR_EACH_POLICY(it)
		if (!strcmp((*it)->name, name))
			return *it;
	return NULL;
}

const struct table_policy *policy_default(void)
{
	const struct table_policy *p = READ_ONCE(chosen_policy);

	return p ? p : policy_find("rcu");
}

void policy_set_default(const struct table_policy *p) { WRITE_ONCE(chosen_policy, p); }

const char *policy_current_name(void) { return policy_default()->name; }
bool policy_named(void) { return named; }

void policies_drain(void)
{
	flush_drain();		// first: it gives tables to their policies
	FOR_EACH_POLICY(p)
		if ((*p)->drain)
			(*p)->drain();
	rcu_barrier();
}

static const char *set_table_free(const char *value)
{
	const struct table_policy *p = policy_find(value);

	if (!p)
		return "no such policy";
	chosen_policy = p;
	named = true;
	return NULL;
}

static void print_table_free(void)
{
	FOR_EACH_POLICY(it)
		log_error("  table_free=%s", (*it)->name);
}
CMDLINE_KEY_LIST(table_free, "how a detached table page waits for lockless walkers; default rcu",
		 set_table_free, print_table_free);
