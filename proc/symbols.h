// SPDX-License-Identifier: MIT
// The symbol table of an ELF file, for the line that a crash prints.
#pragma once
#include "kernel/types.h"

// The function of the file in which `addr` lies (an address as the file has it: without the bias), and how far behind
// its beginning; NULL: none. The name lies in the file, ends in a zero, and is printable and at most 255 characters
// long. The file is hostile: nothing outside [file, file + size) is read.
const char *symbol_in_file(const void *file, u64 size, u64 addr, u64 *offset);
