// SPDX-License-Identifier: MIT
// The verdict on a pair, and which pairs the command line may choose.
#include "mm/policy/verdict.h"
#include "kernel/cmdline.h"
#include "kernel/lib.h"
#include "kernel/log.h"

static bool opt_allow_unsafe;

// A policy that waits for the rest leaves out the CPUs that the back-end reports. What is reported is that a CPU has taken
// a maskable call; that proves the end of walks with interrupts off, and of no others.
static struct verdict rest_verdict(const struct table_policy *p, const struct flush_backend *b)
{
	if (p->walker == WALKER_IRQS_OFF)
		return (struct verdict){ true, "the policy waits for every walker whose end the flush has not proved" };
	if (!b->reports)
		return (struct verdict){ true, "the flush proves nothing, and the policy waits for its walkers by its own means" };
	return (struct verdict){ false, "a walker with interrupts on takes the flush's call in the middle of a walk, and is then not waited for" };
}

// A table may be freed when no walker that could have read the old parent entry is still walking. A policy that waits
// by its own means sees to that itself. One that relies on the flush alone needs a flush whose completion no walker can
// outlive: walkers keep interrupts off; the flush goes to each CPU that walks, even one that runs in another space; and
// the back-end's completion proves that, on each CPU that it goes to, every region with interrupts off has ended.
struct verdict pair_verdict(const struct table_policy *p, const struct flush_backend *b)
{
	if (p->waits == WAIT_OWN)
		return (struct verdict){ true, "the policy waits for its walkers by its own means" };
	if (p->waits == WAIT_REST)
		return rest_verdict(p, b);
	if (p->walker != WALKER_IRQS_OFF)
		return (struct verdict){ false, "the flush is the only wait, and a walker with interrupts on answers it in the middle of a walk" };
	if (!p->walkers_are_targets)
		return (struct verdict){ false, "the flush is the only wait, and it does not go to a CPU that walks a space which it has not loaded" };
	if (!b->proves_irqs_off_walks_ended)
		return (struct verdict){ false, "the flush is the only wait, and its completion does not prove that a walk with interrupts off has ended" };
	return (struct verdict){ true, "the flush is answered only after every walk with interrupts off has ended" };
}

bool pair_named(void) { return policy_named() || flush_named(); }
bool allow_unsafe(void) { return opt_allow_unsafe; }

static const char *set_allow_unsafe(const char *value)
{
	u64 v;

	if (!parse_u64(value, &v) || v > 1)
		return "not 0 or 1";
	opt_allow_unsafe = v;
	return NULL;
}
CMDLINE_KEY(allow_unsafe, "0|1 (1: accept a named pair that is computed to be unsafe, and time unsafe pairs, too; default 0)",
	    set_allow_unsafe);

// Checked when all keys are known: the key for what a back-end needs may come after tlb_flush=.
static bool backend_usable(const struct flush_backend *b)
{
	const char *missing = flush_missing(b);

	if (missing)
		log_error("tlb_flush=%s is refused: %s", b->name, missing);
	return !missing;
}

static bool pair_allowed(const struct table_policy *p, const struct flush_backend *b)
{
	struct verdict v = pair_verdict(p, b);

	if (v.safe || opt_allow_unsafe)
		return true;
	log_error("table_free=%s with tlb_flush=%s is refused: unsafe, since %s. allow_unsafe=1 runs it anyway.",
		  p->name, b->name, v.reason);
	return false;
}

bool pair_check_options(void)
{
	bool usable = backend_usable(flush_default());

	return pair_allowed(policy_default(), flush_default()) && usable;
}

#define SAFE_LINE_MAX 512

static bool usable_and_safe(const struct table_policy *p, const struct flush_backend *b)
{
	return !flush_missing(b) && pair_verdict(p, b).safe;
}

// Append "policy (its back-ends)" or "policy (all)"; nothing if none is safe. Returns how many are.
static unsigned append_safe(char *buf, const struct table_policy *p)
{
	unsigned safe = 0, usable = 0, k = 0;
	size_t n = strlen(buf);

	FOR_EACH_BACKEND(b) {
		usable += !flush_missing(*b);
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
		if (!flush_missing(*b) && !pair_verdict(p, *b).safe)
			log_info("table_free=%s tlb_flush=%s: unsafe: %s", p->name, (*b)->name, pair_verdict(p, *b).reason);
}

void pairs_print_all(void)
{
	char line[SAFE_LINE_MAX] = "";
	unsigned safe = 0;

	FOR_EACH_BACKEND(b)
		if (flush_missing(*b))
			log_info("tlb_flush=%s is not to be had: %s", (*b)->name, flush_missing(*b));
	FOR_EACH_POLICY(p)
		safe += append_safe(line, *p);
	log_info("%u pairs of table_free= (tlb_flush=) are safe: %s", safe, line);
	FOR_EACH_POLICY(p)
		print_unsafe(*p);
}
