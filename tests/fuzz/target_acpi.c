// SPDX-License-Identifier: MIT
// A whole set of ACPI tables: 36 bytes of root pointer, then physical memory from PHYS_START on. The addresses in the
// tables may point anywhere. The kernel's own search (arch/x86_64/acpi.c) runs over it; each mapping that it asks for
// is a copy of exactly that many bytes, so that AddressSanitizer sees a read of the first byte beyond.
#include <stdlib.h>
#include "arch/x86_64/acpi.c"
#include "arch/host/host.h"
#include "tests/fuzz/fuzz.h"

#define PHYS_START 0x1000ull
#define BOOT_ID 3
#define MOST_MAPPINGS 4096

struct boot_info boot_info;
static bool under_xen;
static const u8 *memory;
static size_t memory_size;
static void *mappings[MOST_MAPPINGS];
static unsigned nr_mappings;

// Where there is no memory, a read gives ones.
void *arch_map_firmware(paddr_t pa, size_t len)
{
	u8 *copy;

	if (nr_mappings == MOST_MAPPINGS)
		return NULL;
	copy = malloc(len);
	memset(copy, 0xff, len);
	if (pa >= PHYS_START && pa - PHYS_START < memory_size)
		memcpy(copy, memory + (pa - PHYS_START), MIN(len, memory_size - (size_t)(pa - PHYS_START)));
	mappings[nr_mappings++] = copy;
	return copy;
}

bool xen_present(void) { return under_xen; }
static bool in_ram(u64 pa) { return pa >= PHYS_START && pa - PHYS_START < memory_size; }
void *arch_map_mmio(paddr_t pa, size_t len) { return mappings; }	// nothing is written there
const char *ram_mmio_error(paddr_t pa, u64 len) { return in_ram(pa) ? "lies in RAM" : NULL; }

static void judge(void)
{
	FUZZ_REQUIRE(!hpet_address || !in_ram(hpet_address));
	for (unsigned i = 0; i < madt.nr_ioapics; i++)
		FUZZ_REQUIRE(!in_ram(madt.ioapic_address[i]));
	FUZZ_REQUIRE(madt.nr_cpus >= 1 && madt.nr_cpus <= NR_CPUS && madt.nr_ioapics <= ACPI_MAX_IOAPICS);
	FUZZ_REQUIRE(madt.apic_id[0] == BOOT_ID);
	for (unsigned i = 0; i < madt.nr_cpus; i++)
		for (unsigned k = 0; k < i; k++)
			FUZZ_REQUIRE(madt.apic_id[i] != madt.apic_id[k]);
	FUZZ_REQUIRE(!can_power_off || (s5_type_a < 8 && s5_type_b < 8 && (fadt.hw_reduced ? fadt.sleep_control : fadt.pm1a_cnt)));
	FUZZ_REQUIRE(!can_power_off || !fadt.hw_reduced || !!sleep_register == fadt.sleep_in_memory);
	FUZZ_REQUIRE(!sleep_register || !in_ram(fadt.sleep_control));
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	host_percpu_boot();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < ACPI_RSDP_MAX_SIZE)
		return -1;
	memcpy(boot_info.rsdp, data, ACPI_RSDP_MAX_SIZE);
	boot_info.rsdp_len = data[15] >= 2 ? 36 : 20;
	under_xen = data[ACPI_RSDP_MAX_SIZE - 1] & 1;		// a reserved byte
	memory = data + ACPI_RSDP_MAX_SIZE;
	memory_size = size - ACPI_RSDP_MAX_SIZE;
	madt = (struct acpi_madt){ 0 };
	fadt = (struct acpi_fadt){ 0 };
	hpet_address = 0;
	can_power_off = false;
	sleep_register = NULL;
	root.table = NULL;
	acpi_init(BOOT_ID);
	judge();
	while (nr_mappings)
		free(mappings[--nr_mappings]);
	fuzz_forget_console();
	return 0;
}

// ---- Checksums: a mutation nearly always breaks them, so most inputs get valid ones again. ----

static u8 *tables;		// of the input under repair: PHYS_START
static size_t tables_size;

static void balance(u8 *p, size_t len, size_t at)
{
	u8 sum = 0;

	p[at] = 0;
	for (size_t i = 0; i < len; i++)
		sum = (u8)(sum + p[i]);
	p[at] = (u8)-sum;
}

// The table at pa if it lies in the input, with its length cut to that and a valid checksum.
static u8 *repair_table(u64 pa, u32 *len)
{
	u64 at = pa - PHYS_START;
	u8 *p;

	if (pa < PHYS_START || at >= tables_size || tables_size - at < ACPI_HEADER_SIZE)
		return NULL;
	p = tables + at;
	memcpy(len, p + 4, sizeof(*len));
	if (*len < ACPI_HEADER_SIZE || *len > tables_size - at)
		*len = (u32)MIN(tables_size - at, (u64)4096);
	memcpy(p + 4, len, sizeof(*len));
	balance(p, *len, 9);
	return p;
}

static void repair(u8 *data, size_t size)
{
	struct acpi_root r;
	u8 *top;
	u32 len, part;

	tables = data + ACPI_RSDP_MAX_SIZE;
	tables_size = size - ACPI_RSDP_MAX_SIZE;
	memcpy(data, "RSD PTR ", 8);
	data[20] = 36;
	data[21] = data[22] = data[23] = 0;
	balance(data, 20, 8);
	balance(data, 36, 32);
	if (acpi_parse_rsdp(data, 36, &r) || !(top = repair_table(r.address, &len)))
		return;
	for (unsigned i = 0; i < MIN(acpi_root_entries(len, r.wide), 16u); i++) {
		u64 pa = acpi_root_entry(top, len, r.wide, i);
		u8 *p = repair_table(pa, &part);
		struct acpi_fadt f;

		if (p && !memcmp(p, "FACP", 4) && !acpi_parse_fadt(p, part, &f))
			repair_table(f.dsdt, &part);
	}
	repair_table(r.address, &len);		// a table that overlaps it may have changed it
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
	size = LLVMFuzzerMutate(data, size, max);
	if (size > ACPI_RSDP_MAX_SIZE && seed % 8)
		repair(data, size);
	return size;
}
