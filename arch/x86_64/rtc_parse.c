// SPDX-License-Identifier: MIT
// The real-time clock's registers, in BCD or binary, with 12 or 24 hours (MC146818A data sheet, "Time, Calendar and Alarm
// Locations").
#include "arch/x86_64/rtc_parse.h"

#define STATUS_B_24H 0x02
#define STATUS_B_BINARY 0x04
#define HOUR_PM 0x80
#define INVALID 100u		// no field is that large

static unsigned field(u8 raw, bool binary)
{
	if (binary)
		return raw;
	return (raw & 15) > 9 || raw >> 4 > 9 ? INVALID : (raw >> 4) * 10u + (raw & 15);
}

static unsigned hour_of(const struct rtc_time *t, bool binary)
{
	unsigned hour = field(t->hour & (u8)~HOUR_PM, binary);

	if (t->status_b & STATUS_B_24H)
		return field(t->hour, binary);
	if (hour < 1 || hour > 12)
		return INVALID;
	return hour % 12 + (t->hour & HOUR_PM ? 12 : 0);
}

static bool leap(unsigned year) { return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0); }

static unsigned days_in(unsigned month, unsigned year)
{
	static const u8 days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	return days[month - 1] + (month == 2 && leap(year));
}

static u64 days_before(unsigned year, unsigned month, unsigned day)
{
	u64 days = day - 1;

	for (unsigned y = 1970; y < year; y++)
		days += 365u + leap(y);
	for (unsigned m = 1; m < month; m++)
		days += days_in(m, year);
	return days;
}

// Without a century that makes sense: 1970 to 2069.
static unsigned year_of(const struct rtc_time *t, bool binary)
{
	unsigned year = field(t->year, binary), century = field(t->century, binary);

	if (year > 99)
		return 0;
	if (century >= 19 && century <= 21)
		return century * 100 + year;
	return year < 70 ? 2000 + year : 1900 + year;
}

u64 rtc_parse(const struct rtc_time *t)
{
	bool binary = t->status_b & STATUS_B_BINARY;
	unsigned second = field(t->second, binary), minute = field(t->minute, binary), hour = hour_of(t, binary);
	unsigned day = field(t->day, binary), month = field(t->month, binary), year = year_of(t, binary);

	if (second > 59 || minute > 59 || hour > 23 || year < 1970 || month < 1 || month > 12)
		return 0;
	if (day < 1 || day > days_in(month, year))
		return 0;
	return ((days_before(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
}
