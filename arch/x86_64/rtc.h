// SPDX-License-Identifier: MIT
// The real-time clock, which knows the date.
#pragma once

void rtc_init(void);		// boot CPU, after clock_init(): read it once
