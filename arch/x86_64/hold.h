// SPDX-License-Identifier: MIT
#pragma once

// Keep the end of a run on the screen for whoever reads it: returns when a key is pressed (PS/2) or hold= seconds are
// over. Returns at once where there is no screen, and where the command line came by fw_cfg: then a program reads the
// output. IRQs off.
void hold_screen(int status);
