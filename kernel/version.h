// SPDX-License-Identifier: MIT
// Which source this is. The values come from a file that the Makefile generates, the only one rebuilt when they change.
#pragma once

extern const char quiesce_version[];	// "0.1"
extern const char quiesce_commit[];	// "1a2b3c4" or "1a2b3c4-dirty"
