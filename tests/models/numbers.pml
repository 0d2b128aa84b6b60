// SPDX-License-Identifier: MIT
// The values of POLICY and BACKEND.
#define IPI 1
#define PV 2
#define NMI 3
#define LAZY 4
#define HYPERV 5
#define IMMEDIATE 1
#define POLICY_IPI 2
#define RCU 3
#define RCU_SYNC 4
#define RCU_PAGE 5
#define TARGETED 6
#define HAZARD 7
