// SPDX-License-Identifier: MIT
// What the measurements' header says of the processor: it is the host's business.
#include <arch/machine.h>

const char *arch_cpu_brand(void) { return "threads of a Linux process"; }
const char *arch_cpu_features(void) { return ""; }
