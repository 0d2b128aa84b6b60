// SPDX-License-Identifier: MIT
// The registry of policies and flush back-ends, the command-line keys that choose them, and the verdict on a pair.
#include "mm/policy/policy.h"
#include "kernel/cmdline.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/panic.h"

static const struct table_policy *chosen_policy;	// a new space's; NULL: the built-in default
static const struct flush_backend *chosen_flush;
static bool named;
static bool opt_allow_unsafe;

// A table may be freed when no walker that could have read the old parent entry is still walking. A policy that waits
// by its own means sees to that itself. One that relies on the flush alone needs a flush whose completion no walker can
// outlive: walkers keep interrupts off, the flush goes to each CPU that walks, though it runs in another space, and the
// back-end's completion proves that each such region on a CPU that it goes to has ended.
struct verdict pair_verdict(const struct table_policy *p, const struct flush_backend *b)
{
	if (p->waits == WAIT_OWN)
		return (struct verdict){ true, "the policy waits for its walkers by its own means" };
	if (p->walker != WALKER_IRQS_OFF)
		return (struct verdict){ false, "the flush is the only wait, and a walker with interrupts on answers it in the middle of a walk" };
	if (!p->walkers_are_targets)
		return (struct verdict){ false, "the flush is the only wait, and it does not go to a CPU that walks a space which it has not loaded" };
	if (!b->proves_irqs_off_walks_ended)
		return (struct verdict){ false, "the flush is the only wait, and its completion does not prove that a walk with interrupts off has ended" };
	return (struct verdict){ true, "the flush is answered only after every walk with interrupts off has ended" };
}

const struct table_policy *policy_find(const char *name)
{
	FOR_EACH_POLICY(it)
		if (!strcmp((*it)->name, name))
			return *it;
	return NULL;
}

const struct flush_backend *flush_find(const char *name)
{
	FOR_EACH_BACKEND(it)
		if (!strcmp((*it)->name, name))
			return *it;
	return NULL;
}

const struct table_policy *policy_default(void)
{
	const struct table_policy *p = READ_ONCE(chosen_policy);

	return p ? p : policy_find("rcu");
}

const struct flush_backend *flush_default(void)
{
	const struct flush_backend *b = READ_ONCE(chosen_flush);

	return b ? b : flush_find("ipi");
}

void policy_set_default(const struct table_policy *p, const struct flush_backend *b)
{
	WRITE_ONCE(chosen_policy, p);
	WRITE_ONCE(chosen_flush, b);
}

const char *policy_current_name(void) { return policy_default()->name; }
const char *flush_current_name(void) { return flush_default()->name; }
bool policy_named(void) { return named; }
bool allow_unsafe(void) { return opt_allow_unsafe; }

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
CMDLINE_KEY_LIST(table_free, set_table_free, print_table_free);

static const char *set_tlb_flush(const char *value)
{
	const struct flush_backend *b = flush_find(value);

	if (!b)
		return "no such flush back-end";
	chosen_flush = b;
	named = true;
	return NULL;
}

static void print_tlb_flush(void)
{
	FOR_EACH_BACKEND(it)
		log_error("  tlb_flush=%s", (*it)->name);
}
CMDLINE_KEY_LIST(tlb_flush, set_tlb_flush, print_tlb_flush);

static const char *set_allow_unsafe(const char *value)
{
	u64 v;

	if (!parse_u64(value, &v) || v > 1)
		return "not 0 or 1";
	opt_allow_unsafe = v;
	return NULL;
}
CMDLINE_KEY(allow_unsafe, "0|1", set_allow_unsafe);

// Only here are all keys known: what a back-end needs may be given after it.
static bool backend_usable(const struct flush_backend *b)
{
	const char *missing = b->missing();

	if (missing)
		log_error("tlb_flush=%s is refused: %s", b->name, missing);
	return !missing;
}

static bool pair_allowed(const struct table_policy *p, const struct flush_backend *b)
{
	struct verdict v = pair_verdict(p, b);

	if (v.safe || opt_allow_unsafe)
		return true;
	log_error("table_free=%s with tlb_flush=%s is refused: unsafe, since %s. allow_unsafe=1 runs it all the same.",
		  p->name, b->name, v.reason);
	return false;
}

bool policy_check_options(void)
{
	bool usable = backend_usable(flush_default());

	return pair_allowed(policy_default(), flush_default()) && usable;
}

#define SAFE_LINE_MAX 512

static bool usable_and_safe(const struct table_policy *p, const struct flush_backend *b)
{
	return !b->missing() && pair_verdict(p, b).safe;
}

// Append "policy (its back-ends)" or "policy (all)"; nothing where none is safe. How many are.
static unsigned append_safe(char *buf, const struct table_policy *p)
{
	unsigned safe = 0, usable = 0, k = 0;
	size_t n = strlen(buf);

	FOR_EACH_BACKEND(b) {
		usable += !(*b)->missing();
		safe += usable_and_safe(p, *b);
	}
	if (safe)
		n += (size_t)ksnprintf(buf + n, SAFE_LINE_MAX - n, "%s%s (%s", n ? ", " : "", p->name, safe == usable ? "all)" : "");
	FOR_EACH_BACKEND(b)
		if (safe < usable && usable_and_safe(p, *b) && n < SAFE_LINE_MAX)
			n += (size_t)ksnprintf(buf + n, SAFE_LINE_MAX - n, "%s%s", (*b)->name, ++k < safe ? ", " : ")");
	return safe;
}

static void print_unsafe(const struct table_policy *p)
{
	FOR_EACH_BACKEND(b)
		if (!(*b)->missing() && !pair_verdict(p, *b).safe)
			log_info("table_free=%s tlb_flush=%s: unsafe: %s", p->name, (*b)->name, pair_verdict(p, *b).reason);
}

void policy_print_all(void)
{
	char line[SAFE_LINE_MAX] = "";
	unsigned safe = 0;

	FOR_EACH_BACKEND(b)
		if ((*b)->missing())
			log_info("tlb_flush=%s is not to be had: %s", (*b)->name, (*b)->missing());
	FOR_EACH_POLICY(p)
		safe += append_safe(line, *p);
	log_info("%u pairs of table_free= (tlb_flush=) are safe: %s", safe, line);
	FOR_EACH_POLICY(p)
		print_unsafe(*p);
}
