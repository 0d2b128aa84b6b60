// SPDX-License-Identifier: MIT
// ACPI tables as bytes (ACPI specification 6.5, chapters 5.2 and 20.2). All fields are little-endian and unaligned, so
// they are gathered byte by byte; each access is preceded by a check against the length.
#include "arch/x86_64/acpi_parse.h"
#include "kernel/lib.h"

enum {
	RSDP_SIZE_V1 = 20, RSDP_REVISION = 15, RSDP_RSDT = 16, RSDP_LENGTH = 20, RSDP_XSDT = 24,
	TABLE_LENGTH = 4,
	MADT_LAPIC = 36, MADT_FLAGS = 40, MADT_ENTRIES = 44,
	MADT_TYPE_LAPIC = 0, MADT_TYPE_IOAPIC = 1, MADT_TYPE_LAPIC_ADDRESS = 5, MADT_TYPE_X2APIC = 9,
	HPET_ADDRESS = 40,	// a generic address
	SPACE_MEMORY = 0, SPACE_IO = 1,
	AML_ZERO = 0x00, AML_ONE = 0x01, AML_NAME = 0x08, AML_BYTE = 0x0a, AML_WORD = 0x0b, AML_DWORD = 0x0c,
	AML_PACKAGE = 0x12,
};

static u64 get(const u8 *p, unsigned bytes)
{
	u64 v = 0;

	while (bytes--)
		v = v << 8 | p[bytes];
	return v;
}
static u16 get16(const u8 *p) { return (u16)get(p, 2); }
static u32 get32(const u8 *p) { return (u32)get(p, 4); }
static u64 get64(const u8 *p) { return get(p, 8); }

static bool sums_to_zero(const u8 *p, size_t len)
{
	u8 sum = 0;

	while (len--)
		sum = (u8)(sum + *p++);
	return sum == 0;
}

const char *acpi_parse_rsdp(const void *buf, size_t len, struct acpi_root *out)
{
	const u8 *p = buf;
	u32 length;

	*out = (struct acpi_root){ 0 };
	if (len < RSDP_SIZE_V1)
		return "RSDP is truncated";
	if (memcmp(p, "RSD PTR ", 8))
		return "RSDP has a wrong signature";
	if (!sums_to_zero(p, RSDP_SIZE_V1))
		return "RSDP has a wrong checksum";
	if (p[RSDP_REVISION] >= 2) {
		if (len < ACPI_RSDP_MAX_SIZE)
			return "RSDP is truncated";
		length = get32(p + RSDP_LENGTH);
		if (length < ACPI_RSDP_MAX_SIZE || length > len)
			return "RSDP has a wrong length";
		if (!sums_to_zero(p, length))
			return "RSDP has a wrong extended checksum";
		out->address = get64(p + RSDP_XSDT);
		out->wide = true;
	}
	if (!out->address) {
		out->address = get32(p + RSDP_RSDT);
		out->wide = false;
	}
	return out->address ? NULL : "RSDP names no table";
}

const char *acpi_table_length(const void *header, const char *sig, u32 *length)
{
	const u8 *p = header;

	*length = get32(p + TABLE_LENGTH);
	if (sig && memcmp(p, sig, 4))
		return "wrong signature";
	if (*length < ACPI_HEADER_SIZE)
		return "length is less than a header";
	if (*length > ACPI_MAX_TABLE)
		return "length is absurd";
	return NULL;
}

const char *acpi_check_table(const void *buf, size_t len, const char *sig)
{
	const char *error;
	u32 length;

	if (len < ACPI_HEADER_SIZE)
		return "truncated";
	error = acpi_table_length(buf, sig, &length);
	if (error)
		return error;
	if (length > len)
		return "length goes beyond the buffer";
	return sums_to_zero(buf, length) ? NULL : "wrong checksum";
}

unsigned acpi_root_entries(size_t len, bool wide)
{
	return len < ACPI_HEADER_SIZE ? 0 : (unsigned)((len - ACPI_HEADER_SIZE) / (wide ? 8 : 4));
}

u64 acpi_root_entry(const void *buf, size_t len, bool wide, unsigned i)
{
	unsigned bytes = wide ? 8 : 4;

	if (i >= acpi_root_entries(len, wide))
		return 0;
	return get((const u8 *)buf + ACPI_HEADER_SIZE + (size_t)i * bytes, bytes);
}

static void madt_boot_cpu_only(struct acpi_madt *m, u32 boot_apic_id)
{
	*m = (struct acpi_madt){ .nr_cpus = 1, .apic_id = { boot_apic_id } };
}

static void madt_add_cpu(struct acpi_madt *m, u32 apic_id, u32 flags)
{
	if (!(flags & 1)) {	// bit 1, "online capable": may be plugged in later, but is not there now
		m->disabled++;
		return;
	}
	if (apic_id == m->apic_id[0] && !m->boot_cpu_listed) {
		m->boot_cpu_listed = true;
		return;
	}
	for (unsigned i = 0; i < m->nr_cpus; i++)
		if (m->apic_id[i] == apic_id) {
			m->duplicates++;
			return;
		}
	if (m->nr_cpus == NR_CPUS)
		m->excess++;
	else
		m->apic_id[m->nr_cpus++] = apic_id;
}

static const char *madt_entry(struct acpi_madt *m, const u8 *e, unsigned len)
{
	switch (e[0]) {
	case MADT_TYPE_LAPIC:
		if (len < 8)
			return "MADT: local APIC entry is too short";
		if (e[3] != 0xff)	// 0xff is the broadcast address: some firmware fills unused entries with it
			madt_add_cpu(m, e[3], get32(e + 4));
		return NULL;
	case MADT_TYPE_X2APIC:
		if (len < 16)
			return "MADT: x2APIC entry is too short";
		if (get32(e + 4) != 0xffffffff)
			madt_add_cpu(m, get32(e + 4), get32(e + 8));
		return NULL;
	case MADT_TYPE_LAPIC_ADDRESS:
		if (len < 12)
			return "MADT: address override is too short";
		m->lapic_address = get64(e + 4);
		return NULL;
	case MADT_TYPE_IOAPIC:
		if (len < 12)
			return "MADT: I/O APIC entry is too short";
		if (m->nr_ioapics < ACPI_MAX_IOAPICS)
			m->ioapic_address[m->nr_ioapics++] = get32(e + 4);
		return NULL;
	default:
		return NULL;	// interrupt overrides, NMI wiring, …: not used
	}
}

const char *acpi_parse_madt(const void *buf, size_t len, u32 boot_apic_id, struct acpi_madt *out)
{
	const u8 *p = buf;
	const char *error = acpi_check_table(buf, len, "APIC");

	madt_boot_cpu_only(out, boot_apic_id);
	if (error)
		return error;
	len = get32(p + TABLE_LENGTH);
	if (len < MADT_ENTRIES)
		return "MADT is truncated";
	out->lapic_address = get32(p + MADT_LAPIC);
	out->has_8259 = get32(p + MADT_FLAGS) & 1;
	for (size_t at = MADT_ENTRIES; at < len; at += p[at + 1]) {
		if (len - at < 2 || p[at + 1] > len - at)
			error = "MADT: entry goes beyond the table";
		else if (p[at + 1] < 2)		// would loop for ever
			error = "MADT: entry of length zero";
		else
			error = madt_entry(out, p + at, p[at + 1]);
		if (error)
			break;			// p[at + 1] may not be there
	}
	if (error)
		madt_boot_cpu_only(out, boot_apic_id);
	return error;
}

// A register block's I/O port: the generic address at `wide` if the table is long enough and the address is a port,
// otherwise the 32-bit field at `narrow`.
static u16 fadt_port(const u8 *p, size_t len, size_t wide, size_t narrow)
{
	u64 address = 0;

	if (len >= wide + 12 && p[wide] == SPACE_IO)
		address = get64(p + wide + 4);
	if (!address && len >= narrow + 4)
		address = get32(p + narrow);
	return address <= 0xffff ? (u16)address : 0;
}

const char *acpi_parse_fadt(const void *buf, size_t len, struct acpi_fadt *out)
{
	enum { DSDT = 40, SMI_CMD = 48, ACPI_ENABLE = 52, PM1A_CNT = 64, PM1B_CNT = 68, PM_TMR = 76, PM_TMR_LEN = 91,
	       FLAGS = 112, X_DSDT = 140, X_PM1A_CNT = 172, X_PM1B_CNT = 184, X_PM_TMR = 208, SLEEP_CONTROL = 244,
	       FLAG_TIMER_32 = 1 << 8, FLAG_HW_REDUCED = 1 << 20 };
	const u8 *p = buf;
	const char *error = acpi_check_table(buf, len, "FACP");
	u32 flags;

	*out = (struct acpi_fadt){ 0 };
	if (error)
		return error;
	len = get32(p + TABLE_LENGTH);
	if (len < FLAGS + 4)
		return "FADT is truncated";
	flags = get32(p + FLAGS);
	out->hw_reduced = flags & FLAG_HW_REDUCED;
	out->dsdt = len >= X_DSDT + 8 ? get64(p + X_DSDT) : 0;
	if (!out->dsdt)
		out->dsdt = get32(p + DSDT);
	if (out->hw_reduced && len >= SLEEP_CONTROL + 12) {
		out->sleep_control = get64(p + SLEEP_CONTROL + 4);
		out->sleep_in_memory = p[SLEEP_CONTROL] == SPACE_MEMORY;
		if (!out->sleep_in_memory && (p[SLEEP_CONTROL] != SPACE_IO || out->sleep_control > 0xffff))
			out->sleep_control = 0;
	}
	if (out->hw_reduced)
		return NULL;
	out->smi_cmd = get32(p + SMI_CMD) <= 0xffff ? get16(p + SMI_CMD) : 0;
	out->acpi_enable = p[ACPI_ENABLE];
	out->pm1a_cnt = fadt_port(p, len, X_PM1A_CNT, PM1A_CNT);
	out->pm1b_cnt = fadt_port(p, len, X_PM1B_CNT, PM1B_CNT);
	if (p[PM_TMR_LEN] == 4)
		out->pm_timer = fadt_port(p, len, X_PM_TMR, PM_TMR);
	out->pm_timer_32bit = flags & FLAG_TIMER_32;
	return NULL;
}

const char *acpi_parse_hpet(const void *buf, size_t len, u64 *address)
{
	const u8 *p = buf;
	const char *error = acpi_check_table(buf, len, "HPET");

	*address = 0;
	if (error)
		return error;
	if (get32(p + TABLE_LENGTH) < HPET_ADDRESS + 12)
		return "HPET table is truncated";
	if (p[HPET_ADDRESS] != SPACE_MEMORY)
		return "HPET is not in memory";
	*address = get64(p + HPET_ADDRESS + 4);
	return *address ? NULL : "HPET has no address";
}

// One integer of at most 8 bits of value at *at; moves *at behind it.
static bool aml_small_integer(const u8 *p, size_t len, size_t *at, u8 *out)
{
	size_t left = len - *at, bytes;

	if (!left)
		return false;
	switch (p[*at]) {
	case AML_ZERO:
	case AML_ONE:
		*out = p[*at];
		*at += 1;
		return true;
	case AML_BYTE:
		bytes = 1;
		break;
	case AML_WORD:
		bytes = 2;
		break;
	case AML_DWORD:
		bytes = 4;
		break;
	default:
		return false;
	}
	if (left < 1 + bytes)
		return false;
	*out = p[*at + 1];
	*at += 1 + bytes;
	return true;
}

// Behind the name: PackageOp, PkgLength (1 to 4 bytes, counted by its two top bits), NumElements, elements.
static bool s5_package(const u8 *p, size_t len, size_t at, u8 *type_a, u8 *type_b)
{
	if (len - at < 2 || p[at] != AML_PACKAGE)
		return false;
	at += 2 + (p[at + 1] >> 6);
	if (at >= len || p[at++] < 2)
		return false;
	return aml_small_integer(p, len, &at, type_a) && aml_small_integer(p, len, &at, type_b) &&
	       *type_a < 8 && *type_b < 8;
}

bool acpi_find_s5(const void *dsdt, size_t len, u8 *type_a, u8 *type_b)
{
	const u8 *p = dsdt;

	for (size_t at = ACPI_HEADER_SIZE + 1; at + 4 <= len; at++) {
		if (memcmp(p + at, "_S5_", 4))
			continue;
		if (p[at - 1] != AML_NAME && !(p[at - 1] == '\\' && p[at - 2] == AML_NAME))
			continue;
		if (s5_package(p, len, at + 4, type_a, type_b))
			return true;
	}
	return false;
}
