// SPDX-License-Identifier: MIT
// The CPUs of this machine. arch writes nr_cpus before any other CPU starts; each CPU adds itself to cpus_online.
#include "kernel/cpumask.h"

unsigned nr_cpus = 1;
struct cpumask cpus_online;
