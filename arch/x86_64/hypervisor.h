// SPDX-License-Identifier: MIT
// Which hypervisor runs us.
#pragma once
#include "kernel/types.h"

#define KVM_SIGNATURE "KVMKVMKVM\0\0\0"

// The leaf of the hypervisor interface with this signature of 12 bytes, 0: not offered. A hypervisor that offers
// several has them 0x100 apart: KVM's own follows Hyper-V's when KVM poses as Hyper-V.
u32 hypervisor_leaf(const char *signature);
