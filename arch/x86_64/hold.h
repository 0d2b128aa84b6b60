// SPDX-License-Identifier: MIT
#pragma once

// The end of a run that somebody may be looking at: returns when a key is pressed (PS/2) or hold= seconds are over. Returns at
// once where there is no screen, and where the command line came by fw_cfg: then a program is looking. IRQs off.
void hold_screen(int status);
