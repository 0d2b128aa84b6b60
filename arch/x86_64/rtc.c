// SPDX-License-Identifier: MIT
// The real-time clock (MC146818A) is read once, at boot: afterwards the date is that plus arch_ns(). It has seconds only,
// and who set it may have used local time; taken as UTC, as QEMU sets it. A machine without one answers 0xff, which is no
// date: then the date is unknown, and real time begins with 1970.
#include "arch/x86_64/rtc.h"
#include "arch/x86_64/io.h"
#include "arch/x86_64/rtc_parse.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include <arch/time.h>

#define CMOS_INDEX 0x70
#define CMOS_DATA 0x71
enum { SECOND = 0, MINUTE = 2, HOUR = 4, DAY = 7, MONTH = 8, YEAR = 9, STATUS_A = 10, STATUS_B = 11, CENTURY = 0x32 };
#define STATUS_A_UPDATING 0x80		// the fields change within 244 us, for less than 2 ms

static u64 boot_ns;

static u8 cmos_read(u8 index)
{
	outb(CMOS_INDEX, index);	// bit 7 clear: NMIs stay enabled
	return inb(CMOS_DATA);
}

static struct rtc_time read_fields(void)
{
	for (int i = 0; i < 100 && cmos_read(STATUS_A) & STATUS_A_UPDATING; i++)
		arch_udelay(100);
	return (struct rtc_time){
		.second = cmos_read(SECOND), .minute = cmos_read(MINUTE), .hour = cmos_read(HOUR), .day = cmos_read(DAY),
		.month = cmos_read(MONTH), .year = cmos_read(YEAR), .century = cmos_read(CENTURY),
		.status_b = cmos_read(STATUS_B),
	};
}

// An update may begin between two fields: two readings that agree had none between them.
static u64 read_seconds(void)
{
	struct rtc_time first, second = read_fields();

	for (int i = 0; i < 10; i++) {
		first = second;
		second = read_fields();
		if (!memcmp(&first, &second, sizeof(first)))
			return rtc_parse(&first);
	}
	return 0;
}

void rtc_init(void)
{
	u64 seconds = read_seconds(), now = arch_ns();

	if (seconds)
		boot_ns = seconds * NSEC_PER_SEC - now;
	else
		log_debug("rtc: none, or it does not know the date");
}

u64 arch_wall_ns_at_boot(void) { return boot_ns; }
