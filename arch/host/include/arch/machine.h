// SPDX-License-Identifier: MIT
// Contract: the machine as a whole. Nothing in it depends on the machine, so there is one text.
#pragma once
#include "arch/x86_64/include/arch/machine.h"
