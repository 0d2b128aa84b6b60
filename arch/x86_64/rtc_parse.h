// SPDX-License-Identifier: MIT
// What the registers of the real-time clock mean. A function of its arguments only.
#pragma once
#include "kernel/types.h"

struct rtc_time {		// as they were read
	u8 second, minute, hour, day, month, year, century;	// century: 0 or nonsense where there is no such register
	u8 status_b;
};

// Seconds since 1970, taking the clock to show UTC; 0: not a date and time.
u64 rtc_parse(const struct rtc_time *t);
