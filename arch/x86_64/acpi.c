// SPDX-License-Identifier: MIT
// Finding the ACPI tables in memory, and switching the machine off. The parsing proper is in acpi_parse.c.
#include "arch/x86_64/acpi.h"
#include "arch/x86_64/bootinfo.h"
#include "arch/x86_64/cpuid.h"
#include "arch/x86_64/io.h"
#include "arch/x86_64/kmap.h"
#include "arch/x86_64/memmap.h"
#include "arch/x86_64/xen.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include <arch/atomic.h>

#define MAX_TABLES 256		// entries of the root table that are looked at

enum { PM1_SCI_EN = 1 << 0, PM1_SLP_TYPE_SHIFT = 10, PM1_SLP_TYPE = 7 << PM1_SLP_TYPE_SHIFT, PM1_SLP_EN = 1 << 13 };
enum { SLEEP_TYPE_SHIFT = 2, SLEEP_ENABLE = 1 << 5 };	// in the register of hardware-reduced ACPI

static struct acpi_madt madt;
static struct acpi_fadt fadt;
static u64 hpet_address;
static bool can_power_off;
static u8 s5_type_a, s5_type_b;
static volatile u8 *sleep_register;	// NULL: fadt.sleep_control is a port

// Tables lie wherever the firmware likes, often in reserved memory, so each gets a mapping of its own. An address
// beyond the processor's physical addresses would cause a fault by a reserved page-table bit.
static const u8 *map_table(u64 pa, size_t len)
{
	unsigned bits = cpuid_has_leaf(0x80000008) ? cpuid(0x80000008).eax & 0xff : 36;

	if (!pa || pa >> bits || (pa + len - 1) >> bits)
		return NULL;
	return arch_map_firmware(pa, len);
}

// A checked table; NULL: *error says why.
static const u8 *open_table(u64 pa, const char *sig, u32 *len, const char **error)
{
	const u8 *p = map_table(pa, ACPI_HEADER_SIZE);

	if (!p) {
		*error = "cannot be mapped";
		return NULL;
	}
	*error = acpi_table_length(p, sig, len);
	if (*error)
		return NULL;
	p = map_table(pa, *len);
	*error = p ? acpi_check_table(p, *len, sig) : "cannot be mapped";
	return *error ? NULL : p;
}

static struct {
	const u8 *table;
	u32 len;
	bool wide;
} root;

// The first intact table of that signature, with its length; (NULL, 0) without. A broken one is reported and skipped.
static const u8 *find_table(const char *sig, u32 *len)
{
	unsigned n = root.table ? MIN(acpi_root_entries(root.len, root.wide), (unsigned)MAX_TABLES) : 0;

	for (unsigned i = 0; i < n; i++) {
		u64 pa = acpi_root_entry(root.table, root.len, root.wide, i);
		const u8 *head = map_table(pa, ACPI_HEADER_SIZE), *table;
		const char *error;

		if (!head || memcmp(head, sig, 4))
			continue;
		table = open_table(pa, sig, len, &error);
		if (table)
			return table;
		log_warn("acpi: table %.4s at %#llx: %s", sig, (unsigned long long)pa, error);
	}
	*len = 0;
	return NULL;
}

static const char *find_root(void)
{
	struct acpi_root r;
	const char *error;

	if (!boot_info.rsdp_len)
		return "the boot loader passed no RSDP";
	error = acpi_parse_rsdp(boot_info.rsdp, boot_info.rsdp_len, &r);
	if (error)
		return error;
	// For dom0 Xen copies the header of the firmware's XSDT. Where there is none, the signature is whatever lies at
	// address 0; all else is right.
	root.table = open_table(r.address, xen_present() && boot_info.initial_domain ? NULL : r.wide ? "XSDT" : "RSDT",
				&root.len, &error);
	root.wide = r.wide;
	if (!root.table)
		log_warn("acpi: %s at %#llx: %s", r.wide ? "XSDT" : "RSDT", (unsigned long long)r.address, error);
	return root.table ? NULL : "the root table is broken";
}

// Registers are written to, so an address that a table gives for them is checked first.
static bool registers_ok(const char *table, const char *what, u64 pa, u64 len)
{
	const char *error = ram_mmio_error(pa, len);

	if (error)
		log_warn("acpi: %s: %s at %#llx %s: left out", table, what, (unsigned long long)pa, error);
	return !error;
}

static void check_ioapics(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < madt.nr_ioapics; i++)
		if (registers_ok("MADT", "I/O APIC", madt.ioapic_address[i], ACPI_IOAPIC_SIZE))
			madt.ioapic_address[n++] = madt.ioapic_address[i];
	madt.nr_ioapics = n;
}

static void read_madt(u32 boot_apic_id)
{
	u32 len;
	const u8 *table = find_table("APIC", &len);
	const char *error = acpi_parse_madt(table, len, boot_apic_id, &madt);	// (NULL, 0): "truncated"

	if (!table)
		log_warn("acpi: no MADT: using the boot CPU only");
	else if (error)
		log_warn("acpi: %s: using the boot CPU only", error);
	else if (!madt.boot_cpu_listed)
		log_warn("acpi: the MADT does not list the boot CPU (APIC id %u)", boot_apic_id);
	if (madt.duplicates)
		log_warn("acpi: the MADT lists %u CPUs twice", madt.duplicates);
	if (madt.excess)
		log_warn("acpi: %u CPUs beyond the limit of %u are left out", madt.excess, NR_CPUS);
	check_ioapics();
}

static bool has_sleep_register(void)
{
	if (!fadt.sleep_control || !fadt.sleep_in_memory)
		return fadt.sleep_control;
	if (registers_ok("FADT", "sleep register", fadt.sleep_control, 1))
		sleep_register = arch_map_mmio(fadt.sleep_control, 1);
	return sleep_register;
}

static void read_fadt(void)
{
	u32 len;
	const u8 *table = find_table("FACP", &len), *dsdt;
	const char *error;

	if (!table)
		return;
	error = acpi_parse_fadt(table, len, &fadt);
	if (error) {
		log_warn("acpi: %s", error);
		return;
	}
	if (!(fadt.hw_reduced ? has_sleep_register() : fadt.pm1a_cnt != 0))
		return;
	dsdt = open_table(fadt.dsdt, "DSDT", &len, &error);
	if (!dsdt)
		log_warn("acpi: DSDT: %s", error);
	can_power_off = dsdt && acpi_find_s5(dsdt, len, &s5_type_a, &s5_type_b);
}

static void read_hpet(void)
{
	u32 len;
	const u8 *table = find_table("HPET", &len);
	const char *error = table ? acpi_parse_hpet(table, len, &hpet_address) : NULL;

	if (error)
		log_warn("acpi: %s", error);
	else if (table && !registers_ok("HPET", "timer", hpet_address, ACPI_HPET_SIZE))
		hpet_address = 0;
}

void acpi_init(u32 boot_apic_id)
{
	const char *error = find_root();

	if (error)
		log_warn("acpi: %s", error);
	read_madt(boot_apic_id);
	read_fadt();
	read_hpet();
	log_debug("acpi: %u CPUs (%u absent), local APIC at %#llx, HPET at %#llx, PM timer at %#x, power-off %s",
		  madt.nr_cpus, madt.disabled, (unsigned long long)madt.lapic_address,
		  (unsigned long long)hpet_address, fadt.pm_timer, can_power_off ? "yes" : "no");
}

const struct acpi_madt *acpi_madt(void) { return &madt; }
u64 acpi_hpet_address(void) { return hpet_address; }

u16 acpi_pm_timer_port(bool *is_32bit)
{
	*is_32bit = fadt.pm_timer_32bit;
	return fadt.pm_timer;
}

static void enter_sleep(u16 port, u8 type)
{
	outw(port, (u16)((inw(port) & ~PM1_SLP_TYPE) | type << PM1_SLP_TYPE_SHIFT | PM1_SLP_EN));
}

static void power_off_reduced(void)
{
	u8 value = (u8)(s5_type_a << SLEEP_TYPE_SHIFT | SLEEP_ENABLE);

	if (sleep_register)
		*sleep_register = value;
	else
		outb((u16)fadt.sleep_control, value);
}

static void power_off_by_pm1(void)
{
	if (fadt.smi_cmd && fadt.acpi_enable && !(inw(fadt.pm1a_cnt) & PM1_SCI_EN)) {
		outb(fadt.smi_cmd, fadt.acpi_enable);
		for (int i = 0; i < 1000000 && !(inw(fadt.pm1a_cnt) & PM1_SCI_EN); i++)
			cpu_relax();
	}
	enter_sleep(fadt.pm1a_cnt, s5_type_a);
	if (fadt.pm1b_cnt)
		enter_sleep(fadt.pm1b_cnt, s5_type_b);
}

bool acpi_power_off(void)
{
	if (!can_power_off)
		return false;
	if (fadt.hw_reduced)
		power_off_reduced();
	else
		power_off_by_pm1();
	for (int i = 0; i < 10000000; i++)	// the power goes off a moment later; no clock is trusted here
		cpu_relax();
	return false;
}
