// SPDX-License-Identifier: MIT
// The end of the suite (its files' tests run in the reverse order of their names): nothing may flush after it.
#include "lab/asked.h"
#include "lab/test.h"

TEST(nested, totals, 0)
{
	if (!asked_print())
		SKIP("needs a hypervisor that keeps steal-time records");
}
