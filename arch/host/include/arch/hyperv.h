// SPDX-License-Identifier: MIT
// Contract: Hyper-V's flush hypercalls. Nothing in it depends on the machine, so there is one text.
#pragma once
#include "arch/x86_64/include/arch/hyperv.h"
