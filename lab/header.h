// SPDX-License-Identifier: MIT
// The HEADER {json} line (docs/reference.md): what is needed to judge and to repeat the measurements that follow it.
#pragma once

void header_print(void);		// once per boot; later calls do nothing
