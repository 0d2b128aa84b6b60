// SPDX-License-Identifier: MIT
// Which source this is. The values come from a file that the Makefile generates, the only one rebuilt when they change.
#pragma once

extern const char quiesce_version[];	// "0.1"
extern const char quiesce_commit[];	// "1a2b3c4" or "1a2b3c4-dirty"

// The compiler and its major version, which is what decides how many instructions a path takes.
#define VERSION_TEXT_(number) #number
#define VERSION_TEXT(number) VERSION_TEXT_(number)
#ifdef __clang__
#define COMPILER "clang-" VERSION_TEXT(__clang_major__)
#else
#define COMPILER "gcc-" VERSION_TEXT(__GNUC__)
#endif
