// SPDX-License-Identifier: MIT
// Contract: a hypervisor's steal-time records. Nothing in it depends on the machine, so there is one text.
#pragma once
#include "arch/x86_64/include/arch/steal.h"
