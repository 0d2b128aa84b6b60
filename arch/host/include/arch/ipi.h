// SPDX-License-Identifier: MIT
// Contract: interrupts between CPUs. Nothing in it depends on the machine, so there is one text.
#pragma once
#include "arch/x86_64/include/arch/ipi.h"
