// SPDX-License-Identifier: MIT
// A batch of table pages that waits for a grace period: for the policies that defer by call_rcu().
#pragma once
#include "mm/policy/policy.h"

// Have the FLUSHED tables freed after a grace period; the list ends empty. False: no memory for a batch; the list is as
// it was. Preemptible context.
bool table_batch_defer(struct list *tables, const struct table_policy *policy);
