// SPDX-License-Identifier: MIT
// The ACPI parser on tables that the test builds, valid and hostile. The parser trusts nothing that the firmware says:
// whatever the bytes are, it ends, reads nothing outside the buffer, and reports what is wrong.
#include "arch/x86_64/acpi_parse.h"
#include "kernel/lib.h"
#include "lab/test.h"

enum { MADT_HEAD = 44, BOOT_ID = 3 };

static u8 table[8192];
static size_t table_len;
static struct acpi_madt madt;

static void put(size_t at, unsigned bytes, u64 v)
{
	for (unsigned i = 0; i < bytes; i++, v >>= 8)
		table[at + i] = (u8)v;
}

static void begin(const char *sig, size_t len)
{
	memset(table, 0, sizeof(table));
	memcpy(table, sig, 4);
	table_len = len;
}

// Fills in the length and a valid checksum, so that the parser gets as far as what is wrong inside.
static void finish(void)
{
	u8 sum = 0;

	put(4, 4, table_len);
	table[9] = 0;
	for (size_t i = 0; i < table_len; i++)
		sum = (u8)(sum + table[i]);
	table[9] = (u8)-sum;
}

static void add(const void *entry, size_t len)
{
	memcpy(table + table_len, entry, len);
	table_len += len;
}

static void add_lapic(u8 id, u32 flags)
{
	const u8 e[8] = { 0, 8, (u8)(id + 100), id, (u8)flags };

	add(e, sizeof(e));
}

static void add_x2apic(u32 id, u32 flags)
{
	const u8 e[16] = { 9, 16, 0, 0, (u8)id, (u8)(id >> 8), (u8)(id >> 16), (u8)(id >> 24), (u8)flags };

	add(e, sizeof(e));
}

static void begin_madt(void)
{
	begin("APIC", MADT_HEAD);
	put(36, 4, 0xfee00000);
	put(40, 4, 1);
}

static const char *parse_madt(void)
{
	finish();
	return acpi_parse_madt(table, table_len, BOOT_ID, &madt);
}

// The expected outcome of every broken MADT.
static void expect_boot_cpu_only(const char *error)
{
	EXPECT(error != NULL);
	EXPECT_EQ(madt.nr_cpus, 1);
	EXPECT_EQ(madt.apic_id[0], BOOT_ID);
	EXPECT_EQ(madt.nr_ioapics, 0);
}

TEST(acpi, madt_boot_cpu_is_first, 0)
{
	begin_madt();
	add_lapic(7, 1);
	add_lapic(BOOT_ID, 1);
	add_x2apic(0x12345, 1);
	add_lapic(0, 1);
	REQUIRE(!parse_madt());
	EXPECT_EQ(madt.nr_cpus, 4);
	EXPECT_EQ(madt.apic_id[0], BOOT_ID);
	EXPECT_EQ(madt.apic_id[1], 7);
	EXPECT_EQ(madt.apic_id[2], 0x12345);
	EXPECT_EQ(madt.apic_id[3], 0);
	EXPECT(madt.boot_cpu_listed);
	EXPECT(madt.has_8259);
	EXPECT_EQ(madt.lapic_address, 0xfee00000);
	EXPECT_EQ(madt.duplicates + madt.disabled + madt.excess, 0);
}

TEST(acpi, madt_sparse_disabled_invalid, 0)
{
	begin_madt();
	add_lapic(BOOT_ID, 1);
	add_lapic(200, 1);
	add_lapic(5, 0);		// disabled
	add_lapic(6, 2);		// may be plugged in later
	add_lapic(0xff, 1);		// a broadcast address is no CPU
	add_x2apic(0xffffffff, 1);
	add_x2apic(300, 0);
	REQUIRE(!parse_madt());
	EXPECT_EQ(madt.nr_cpus, 2);
	EXPECT_EQ(madt.apic_id[1], 200);
	EXPECT_EQ(madt.disabled, 3);
}

TEST(acpi, madt_duplicates, 0)
{
	begin_madt();
	add_lapic(BOOT_ID, 1);
	add_lapic(9, 1);
	add_x2apic(9, 1);
	add_lapic(9, 1);
	add_x2apic(BOOT_ID, 1);
	REQUIRE(!parse_madt());
	EXPECT_EQ(madt.nr_cpus, 2);
	EXPECT_EQ(madt.duplicates, 3);
}

TEST(acpi, madt_boot_cpu_missing, 0)
{
	begin_madt();
	add_lapic(1, 1);
	REQUIRE(!parse_madt());
	EXPECT(!madt.boot_cpu_listed);
	EXPECT_EQ(madt.nr_cpus, 2);
	EXPECT_EQ(madt.apic_id[0], BOOT_ID);
	EXPECT_EQ(madt.apic_id[1], 1);
}

TEST(acpi, madt_more_cpus_than_we_hold, 0)
{
	begin_madt();
	for (u32 id = 0; id < NR_CPUS + 40; id++)
		add_x2apic(id, 1);
	REQUIRE(!parse_madt());
	EXPECT_EQ(madt.nr_cpus, NR_CPUS);
	EXPECT_EQ(madt.excess, 40);
}

TEST(acpi, madt_other_entries, 0)
{
	const u8 ioapic[12] = { 1, 12, 0, 0, 0, 0, 0xc0, 0xfe }, address[12] = { 5, 12, 0, 0, 0, 0x10, 0, 0xfe, 1 };
	const u8 unknown[2] = { 0x80, 2 };

	begin_madt();
	add(unknown, sizeof(unknown));
	for (int i = 0; i < ACPI_MAX_IOAPICS + 3; i++)
		add(ioapic, sizeof(ioapic));
	add(address, sizeof(address));
	add_lapic(1, 1);
	REQUIRE(!parse_madt());
	EXPECT_EQ(madt.nr_ioapics, ACPI_MAX_IOAPICS);
	EXPECT_EQ(madt.ioapic_address[0], 0xfec00000);
	EXPECT_EQ(madt.lapic_address, 0x1fe001000);
	EXPECT_EQ(madt.nr_cpus, 2);
}

TEST(acpi, madt_broken_entries, 0)
{
	static const u8 bad[][4] = {
		{ 0, 0 }, { 0, 1 }, { 0x80, 0 }, { 0x80, 1 },	// a parser would never advance
		{ 0, 2 }, { 0, 4 }, { 9, 4 }, { 5, 4 }, { 1, 4 },	// too short for their type
		{ 0x80, 5 }, { 0, 255 },			// beyond the table
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		begin_madt();
		add_lapic(1, 1);
		add(bad[i], 4);
		expect_boot_cpu_only(parse_madt());
	}
	begin_madt();		// one byte of an entry
	add_lapic(1, 1);
	add(bad[0], 1);
	expect_boot_cpu_only(parse_madt());
}

TEST(acpi, table_header, 0)
{
	u32 len;

	begin_madt();
	add_lapic(1, 1);
	finish();
	EXPECT(!acpi_check_table(table, table_len, "APIC"));
	EXPECT(!acpi_check_table(table, sizeof(table), "APIC"));
	EXPECT(acpi_check_table(table, table_len, "FACP"));
	for (size_t n = 0; n < table_len; n++)		// truncated anywhere
		expect_boot_cpu_only(acpi_parse_madt(table, n, BOOT_ID, &madt));
	table[table_len - 1] ^= 1;
	expect_boot_cpu_only(acpi_parse_madt(table, table_len, BOOT_ID, &madt));
	for (u32 length = 0; length < ACPI_HEADER_SIZE; length++) {
		put(4, 4, length);
		EXPECT(acpi_table_length(table, NULL, &len));
	}
	put(4, 4, 0xffffffff);
	EXPECT(acpi_table_length(table, NULL, &len));
	begin("APIC", ACPI_HEADER_SIZE);		// a header and nothing else
	expect_boot_cpu_only(parse_madt());
	expect_boot_cpu_only(acpi_parse_madt(NULL, 0, BOOT_ID, &madt));
}

TEST(acpi, root_table, 0)
{
	begin("XSDT", ACPI_HEADER_SIZE + 8 + 5);
	put(ACPI_HEADER_SIZE, 8, 0x123456789abull);
	EXPECT_EQ(acpi_root_entries(table_len, true), 1);
	EXPECT_EQ(acpi_root_entries(table_len, false), 3);
	EXPECT_EQ(acpi_root_entries(ACPI_HEADER_SIZE - 1, false), 0);
	EXPECT_EQ(acpi_root_entries(0, true), 0);
	EXPECT_EQ(acpi_root_entry(table, table_len, true, 0), 0x123456789abull);
	EXPECT_EQ(acpi_root_entry(table, table_len, false, 0), 0x456789abull);
	EXPECT_EQ(acpi_root_entry(table, table_len, true, 1), 0);
	EXPECT_EQ(acpi_root_entry(table, table_len, true, ~0u), 0);
}

static void make_rsdp(u8 revision, u32 length)
{
	u8 sum = 0;

	memset(table, 0, sizeof(table));
	memcpy(table, "RSD PTR ", 8);
	table[15] = revision;
	put(16, 4, 0x1000);
	put(20, 4, length);
	put(24, 8, 0x200000000ull);
	for (int i = 0; i < 20; i++)
		sum = (u8)(sum + table[i]);
	table[8] = (u8)-sum;
	sum = 0;
	for (int i = 0; i < 36; i++)
		sum = (u8)(sum + table[i]);
	table[32] = (u8)-sum;
}

TEST(acpi, rsdp, 0)
{
	struct acpi_root root;

	make_rsdp(0, 0);
	EXPECT(!acpi_parse_rsdp(table, 20, &root));
	EXPECT_EQ(root.address, 0x1000);
	EXPECT(!root.wide);
	for (size_t n = 0; n < 20; n++)
		EXPECT(acpi_parse_rsdp(table, n, &root));
	table[16] ^= 1;
	EXPECT(acpi_parse_rsdp(table, 20, &root));

	make_rsdp(2, 36);
	EXPECT(!acpi_parse_rsdp(table, 36, &root));
	EXPECT_EQ(root.address, 0x200000000ull);
	EXPECT(root.wide);
	EXPECT(acpi_parse_rsdp(table, 20, &root));	// its second half is missing
	table[24] ^= 1;					// covered by the second checksum only
	EXPECT(acpi_parse_rsdp(table, 36, &root));
	make_rsdp(2, 20);
	EXPECT(acpi_parse_rsdp(table, 36, &root));
	make_rsdp(2, 0xffffffff);
	EXPECT(acpi_parse_rsdp(table, 36, &root));
	make_rsdp(0, 0);
	table[0] = 'X';
	EXPECT(acpi_parse_rsdp(table, 36, &root));
}

static void make_fadt(size_t len, u32 flags)
{
	begin("FACP", len);
	put(40, 4, 0x7000);		// DSDT
	put(48, 4, 0xb2);		// SMI command port
	put(52, 1, 0xf1);
	put(64, 4, 0x604);		// PM1a control
	put(76, 4, 0x608);		// PM timer
	put(91, 1, 4);
	put(112, 4, flags);
	if (len >= 244) {
		put(140, 8, 0x17000);
		put(172, 1, 1);		// in I/O space
		put(176, 8, 0x1604);
		put(208, 1, 0);		// in memory: not used
		put(212, 8, 0x9999);
	}
	if (len >= 256) {
		put(244, 1, 1);		// sleep control, in I/O space
		put(248, 8, 0x600);
	}
	finish();
}

TEST(acpi, fadt, 0)
{
	struct acpi_fadt f;

	make_fadt(116, 1 << 8);
	EXPECT(!acpi_parse_fadt(table, table_len, &f));
	EXPECT_EQ(f.dsdt, 0x7000);
	EXPECT_EQ(f.smi_cmd, 0xb2);
	EXPECT_EQ(f.acpi_enable, 0xf1);
	EXPECT_EQ(f.pm1a_cnt, 0x604);
	EXPECT_EQ(f.pm1b_cnt, 0);
	EXPECT_EQ(f.pm_timer, 0x608);
	EXPECT(f.pm_timer_32bit);

	make_fadt(268, 0);
	EXPECT(!acpi_parse_fadt(table, table_len, &f));
	EXPECT_EQ(f.dsdt, 0x17000);
	EXPECT_EQ(f.pm1a_cnt, 0x1604);
	EXPECT_EQ(f.pm_timer, 0x608);
	EXPECT(!f.pm_timer_32bit);

	make_fadt(268, 1 << 20);	// hardware-reduced: these registers do not exist
	EXPECT(!acpi_parse_fadt(table, table_len, &f));
	EXPECT(f.hw_reduced);
	EXPECT_EQ(f.pm1a_cnt | f.pm_timer | f.smi_cmd, 0);
	EXPECT_EQ(f.sleep_control, 0x600);
	EXPECT(!f.sleep_in_memory);
	put(244, 1, 0);			// the sleep register in memory
	finish();
	EXPECT(!acpi_parse_fadt(table, table_len, &f) && f.sleep_control == 0x600 && f.sleep_in_memory);
	put(244, 1, 2);			// … in neither
	finish();
	EXPECT(!acpi_parse_fadt(table, table_len, &f) && !f.sleep_control);
	put(244, 1, 1);
	put(248, 8, 0x10000);		// no I/O port
	finish();
	EXPECT(!acpi_parse_fadt(table, table_len, &f) && !f.sleep_control);
	make_fadt(255, 1 << 20);	// the table ends before
	EXPECT(!acpi_parse_fadt(table, table_len, &f) && !f.sleep_control);
	make_fadt(268, 0);		// not reduced
	EXPECT(!acpi_parse_fadt(table, table_len, &f) && !f.sleep_control);

	make_fadt(115, 0);
	EXPECT(acpi_parse_fadt(table, table_len, &f));
	EXPECT_EQ(f.dsdt, 0);
	make_fadt(116, 0);
	put(64, 4, 0x12345678);		// no I/O port
	finish();
	EXPECT(!acpi_parse_fadt(table, table_len, &f));
	EXPECT_EQ(f.pm1a_cnt, 0);
}

TEST(acpi, hpet, 0)
{
	u64 address;

	begin("HPET", 56);
	put(44, 8, 0xfed00000);
	finish();
	EXPECT(!acpi_parse_hpet(table, table_len, &address));
	EXPECT_EQ(address, 0xfed00000);
	put(40, 1, 1);			// in I/O space
	finish();
	EXPECT(acpi_parse_hpet(table, table_len, &address));
	begin("HPET", 51);
	finish();
	EXPECT(acpi_parse_hpet(table, table_len, &address));
	EXPECT_EQ(address, 0);
}

static bool find_s5(const char *aml, size_t n, u8 *a, u8 *b)
{
	begin("DSDT", ACPI_HEADER_SIZE);
	add(aml, n);
	return acpi_find_s5(table, table_len, a, b);
}
#define S5(aml) find_s5((aml), sizeof(aml) - 1, &a, &b)

TEST(acpi, s5, 0)
{
	u8 a = 9, b = 9;

	EXPECT(S5("\x08_S5_\x12\x06\x04\x00\x00\x00\x00"));
	EXPECT_EQ(a, 0);
	EXPECT_EQ(b, 0);
	EXPECT(S5("xx\x08\\_S5_\x12\x0a\x04\x0a\x05\x0a\x07\x00\x00"));
	EXPECT_EQ(a, 5);
	EXPECT_EQ(b, 7);
	EXPECT(S5("\x08_S5_\x12\x48\x01\x02\x0b\x06\x00\x01"));	// PkgLength in two bytes, a word, One
	EXPECT_EQ(a, 6);
	EXPECT_EQ(b, 1);
	EXPECT(S5("_S5_ _S5\x08_S5_\x12\x04\x02\x01\x01"));	// the name alone is no definition
	EXPECT(!S5("_S5_\x12\x06\x04\x00\x00\x00\x00"));
	EXPECT(!S5("\x08_S5_"));
	EXPECT(!S5("\x08_S5_\x12"));
	EXPECT(!S5("\x08_S5_\x12\xc6"));
	EXPECT(!S5("\x08_S5_\x12\x02\x02\x0a"));
	EXPECT(!S5("\x08_S5_\x12\x02\x02\x0a\x05"));
	EXPECT(!S5("\x08_S5_\x12\x02\x01\x00\x00"));		// one element is not enough
	EXPECT(!S5("\x08_S5_\x12\x05\x02\x0a\x08\x00"));	// no sleep type has four bits
	EXPECT(!S5("\x08_S5_\x12\x05\x02\x0d\x08\x00"));	// a string
	EXPECT(!S5(""));
}

struct everything {
	const char *errors[4];
	struct acpi_root root;
	struct acpi_fadt fadt;
	u64 hpet;
	bool s5;
	u8 a, b;
};

static void parse_everything(size_t len, struct everything *e, struct acpi_madt *m)
{
	memset(e, 0, sizeof(*e));
	e->errors[0] = acpi_parse_rsdp(table, len, &e->root);
	e->errors[1] = acpi_parse_madt(table, len, BOOT_ID, m);
	e->errors[2] = acpi_parse_fadt(table, len, &e->fadt);
	e->errors[3] = acpi_parse_hpet(table, len, &e->hpet);
	e->s5 = acpi_find_s5(table, len, &e->a, &e->b);
}

// Bytes behind the end must not matter: one table parsed with two different tails behind it gives the same result.
static void expect_tail_ignored(size_t len)
{
	static struct acpi_madt madt2;
	struct everything one, two;

	memset(table + len, 0x00, 512);
	parse_everything(len, &one, &madt);
	memset(table + len, 0xa5, 512);
	parse_everything(len, &two, &madt2);
	EXPECT(!memcmp(one.errors, two.errors, sizeof(one.errors)));
	EXPECT(one.root.address == two.root.address && one.hpet == two.hpet && one.s5 == two.s5);
	EXPECT(one.a == two.a && one.b == two.b);
	EXPECT(!memcmp(&one.fadt, &two.fadt, sizeof(one.fadt)));
	EXPECT(!memcmp(&madt, &madt2, sizeof(madt)));
	EXPECT(madt.nr_cpus >= 1 && madt.nr_cpus <= NR_CPUS && madt.apic_id[0] == BOOT_ID);
	EXPECT(madt.nr_ioapics <= ACPI_MAX_IOAPICS);
}

static void make_something(u64 *seed)
{
	switch (rand_next(seed) % 4) {
	case 0:
		begin_madt();
		for (u64 n = rand_next(seed) % 20; n; n--) {
			add_lapic((u8)rand_next(seed), (u32)rand_next(seed) & 1);
			add_x2apic((u32)rand_next(seed), (u32)rand_next(seed) & 1);
		}
		break;
	case 1:
		make_fadt(100 + rand_next(seed) % 180, (u32)rand_next(seed));
		break;
	case 2:
		begin("HPET", 36 + rand_next(seed) % 30);
		put(44, 8, 0xfed00000);
		break;
	case 3:
		begin("DSDT", ACPI_HEADER_SIZE);
		add("\x08_S5_\x12\x0a\x04\x0a\x05\x0a\x07\x00\x00", 13);
		break;
	}
}

TEST(acpi, random_damage, 0)
{
	u64 seed = test_seed();

	for (int round = 0; round < 3000 && !test_failed(); round++) {
		size_t len;

		make_something(&seed);
		for (u64 n = rand_next(&seed) % 4; n; n--)
			table[10 + rand_next(&seed) % (table_len - 10)] = (u8)rand_next(&seed);
		finish();
		if (rand_next(&seed) % 4 == 0)
			put(4, 4, rand_next(&seed) % 600);
		len = rand_next(&seed) % 4 ? table_len : rand_next(&seed) % (table_len + 1);
		expect_tail_ignored(len);
	}
}
