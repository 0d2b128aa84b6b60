// SPDX-License-Identifier: MIT
// The values of BACKEND: the back-ends of mm/flush/ that have a model (tools/models.py reads it here)
#define IPI 1
#define PV 2
#define NMI 3
#define LAZY 4
#define HYPERV 5
#define XEN 6
// The values of POLICY: likewise of mm/policy/; POLICY_ stands before a name that is taken
#define IMMEDIATE 1
#define POLICY_IPI 2
#define RCU 3
#define RCU_SYNC 4
#define RCU_PAGE 5
#define TARGETED 6
#define HAZARD 7
#define AUTO 8
#define EPOCH 9
#define RCU_PROXY 10
#define KEEP 11
