// SPDX-License-Identifier: MIT
// The real-time clock's registers: known dates in each of its formats, and what is no date.
#include "arch/x86_64/rtc_parse.h"
#include "lab/test.h"

enum { BCD12 = 0, BCD24 = 2, BINARY12 = 4, BINARY24 = 6 };

static u64 parse(u8 century, u8 year, u8 month, u8 day, u8 hour, u8 minute, u8 second, u8 status_b)
{
	return rtc_parse(&(struct rtc_time){ second, minute, hour, day, month, year, century, status_b });
}

TEST(rtc, known_dates, 0)
{
	EXPECT_EQ(parse(0x19, 0x70, 1, 1, 0, 0, 1, BCD24), 1);
	EXPECT_EQ(parse(0x20, 0x01, 0x09, 0x09, 0x01, 0x46, 0x40, BCD24), 1000000000);
	EXPECT_EQ(parse(20, 1, 9, 9, 1, 46, 40, BINARY24), 1000000000);
	EXPECT_EQ(parse(0x20, 0x00, 0x02, 0x29, 0x12, 0, 0, BCD24), 951825600);	// 2000 was a leap year
	EXPECT_EQ(parse(0x20, 0x00, 0x12, 0x31, 0x23, 0x59, 0x59, BCD24), 978307199);
	EXPECT_EQ(parse(0x20, 0x38, 0x01, 0x19, 0x03, 0x14, 0x08, BCD24), 1ll << 31);
	EXPECT_EQ(parse(0x21, 0x00, 0x03, 0x01, 0, 0, 0, BCD24), 4107542400ll);	// 2100 will be none
}

TEST(rtc, twelve_hours, 0)
{
	static const struct { u8 raw; unsigned hour; } hours[] = {
		{ 0x12, 0 }, { 0x01, 1 }, { 0x11, 11 }, { 0x92, 12 }, { 0x81, 13 }, { 0x91, 23 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(hours); i++) {
		u8 binary = (u8)((hours[i].raw & 0x80) | ((hours[i].hour + 11) % 12 + 1));

		EXPECT_EQ(parse(0x19, 0x70, 1, 1, hours[i].raw, 0, 1, BCD12), hours[i].hour * 3600 + 1);
		EXPECT_EQ(parse(19, 70, 1, 1, binary, 0, 1, BINARY12), hours[i].hour * 3600 + 1);
	}
	EXPECT_EQ(parse(0x19, 0x70, 1, 1, 0x00, 0, 1, BCD12), 0);
	EXPECT_EQ(parse(0x19, 0x70, 1, 1, 0x13, 0, 1, BCD12), 0);
}

TEST(rtc, no_century, 0)
{
	EXPECT_EQ(parse(0xff, 0x01, 0x09, 0x09, 0x01, 0x46, 0x40, BCD24), 1000000000);
	EXPECT_EQ(parse(0, 0x99, 0x12, 0x31, 0x23, 0x59, 0x59, BCD24), 946684799);
}

TEST(rtc, not_a_date, 0)
{
	EXPECT_EQ(parse(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), 0);	// no such hardware
	EXPECT_EQ(parse(0, 0, 0, 0, 0, 0, 0, 0), 0);
	EXPECT_EQ(parse(0x20, 0x01, 0x02, 0x29, 0, 0, 0, BCD24), 0);
	EXPECT_EQ(parse(0x21, 0x00, 0x02, 0x29, 0, 0, 0, BCD24), 0);
	EXPECT_EQ(parse(0x20, 0x01, 0x13, 0x01, 0, 0, 0, BCD24), 0);
	EXPECT_EQ(parse(0x20, 0x01, 0x01, 0x32, 0, 0, 0, BCD24), 0);
	EXPECT_EQ(parse(0x20, 0x01, 0x01, 0x01, 0x24, 0, 0, BCD24), 0);
	EXPECT_EQ(parse(0x20, 0x01, 0x01, 0x01, 0, 0x60, 0, BCD24), 0);
	EXPECT_EQ(parse(0x20, 0x01, 0x01, 0x01, 0, 0, 0x5a, BCD24), 0);
}
