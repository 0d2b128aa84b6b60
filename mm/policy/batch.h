// SPDX-License-Identifier: MIT
// Batches of table pages that wait for a grace period: for the policies that defer by call_rcu().
#pragma once
#include "mm/policy/policy.h"

// Move FLUSHED tables off the list, as many as one batch holds, and have them freed after a grace period. False: no
// memory for a batch; the list is as it was. Preemptible context.
bool table_batch_defer(struct list *tables, const struct table_policy *policy);
// Free one FLUSHED table: nobody can be inside any more.
void table_free_quiesced(struct page *table, const struct table_policy *policy);
