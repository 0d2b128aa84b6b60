// SPDX-License-Identifier: MIT
// The stack protector's other half; the guard itself is set by the entry code.
#include "kernel/panic.h"

_Noreturn void __stack_chk_fail(void);
_Noreturn void __stack_chk_fail(void) { panic("stack smashed: a canary was overwritten"); }
