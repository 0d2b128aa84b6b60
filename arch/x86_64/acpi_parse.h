// SPDX-License-Identifier: MIT
// ACPI tables as bytes: pure functions over (buffer, length), without hardware access, so that the host can test and
// fuzz them. The firmware is not trusted: no function reads outside the buffer, whatever the bytes say, and each
// says in words what is wrong (NULL: nothing).
#pragma once
#include "kernel/types.h"

#define ACPI_HEADER_SIZE 36	// signature, length, revision, checksum, OEM and creator fields
#define ACPI_RSDP_MAX_SIZE 36
#define ACPI_MAX_IOAPICS 16
#define ACPI_IOAPIC_SIZE 0x20	// bytes of registers
#define ACPI_HPET_SIZE 0x400
#define ACPI_MAX_TABLE (4u << 20)	// a longer table is taken for garbage

struct acpi_root {
	u64 address;	// of the RSDT or XSDT
	bool wide;	// XSDT: 64-bit entries
};
// Checks signature and checksum of the first 20 bytes and, from revision 2 on, of the whole structure.
const char *acpi_parse_rsdp(const void *buf, size_t len, struct acpi_root *out);

// The length field of a table whose first ACPI_HEADER_SIZE bytes are at hand. Error: wrong signature (sig may be NULL:
// any), shorter than a header, longer than ACPI_MAX_TABLE.
const char *acpi_table_length(const void *header, const char *sig, u32 *length);
// A whole table: the above, the length within the buffer, the checksum.
const char *acpi_check_table(const void *buf, size_t len, const char *sig);

// Entries of a checked RSDT or XSDT.
unsigned acpi_root_entries(size_t len, bool wide);
u64 acpi_root_entry(const void *buf, size_t len, bool wide, unsigned i);	// 0 when there is none

struct acpi_madt {
	u64 lapic_address;
	bool has_8259;
	unsigned nr_cpus;		// enabled ones, without duplicates, the boot CPU included; at most NR_CPUS
	u32 apic_id[NR_CPUS];		// [0] is the boot CPU's, the others in the table's order
	unsigned disabled;		// entries of CPUs that are not there
	unsigned duplicates;		// entries that repeat an enabled CPU
	unsigned excess;		// enabled CPUs beyond NR_CPUS
	bool boot_cpu_listed;
	unsigned nr_ioapics;
	u32 ioapic_address[ACPI_MAX_IOAPICS];
};
// Entries of type 0 (local APIC), 9 (local x2APIC), 5 (address override) and 1 (I/O APIC). On error *out
// names the boot CPU alone.
const char *acpi_parse_madt(const void *buf, size_t len, u32 boot_apic_id, struct acpi_madt *out);

struct acpi_fadt {
	u64 dsdt;
	bool hw_reduced;		// no PM1 registers, but perhaps one to fall asleep by (ACPI 6.5, 4.8.3.7)
	u64 sleep_control;		// its address; 0: absent
	bool sleep_in_memory;		// otherwise it is an I/O port
	u16 smi_cmd, pm1a_cnt, pm1b_cnt, pm_timer;	// I/O ports; 0: absent
	u8 acpi_enable;			// written to smi_cmd to enter ACPI mode
	bool pm_timer_32bit;		// otherwise 24 bits
};
const char *acpi_parse_fadt(const void *buf, size_t len, struct acpi_fadt *out);

// The physical address of the HPET's registers.
const char *acpi_parse_hpet(const void *buf, size_t len, u64 *address);

// The sleep types of the package \_S5 in a DSDT, found by its byte pattern: no AML is executed.
bool acpi_find_s5(const void *dsdt, size_t len, u8 *type_a, u8 *type_b);
