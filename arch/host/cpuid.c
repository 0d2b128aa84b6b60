// SPDX-License-Identifier: MIT
// What the header of the measurements says about the processor: it is the host's.
#include <arch/machine.h>

const char *arch_cpu_brand(void) { return "threads of a Linux process"; }
const char *arch_cpu_features(void) { return ""; }
