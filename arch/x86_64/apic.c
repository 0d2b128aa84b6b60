// SPDX-License-Identifier: MIT
// The local APIC (SDM vol. 3, chapter 11), and the silencing of the interrupt controllers that we do not use.
// The APIC's TPR, which is CR8, stays at class 1: an interrupt on a vector from 16 to 31, which would be taken for an
// exception, is never delivered. On vectors from 0 to 15 the APIC itself accepts none.
#include "arch/x86_64/acpi.h"
#include "arch/x86_64/apic.h"
#include "arch/x86_64/cpuid.h"
#include "arch/x86_64/hypervisor.h"
#include "arch/x86_64/io.h"
#include "arch/x86_64/kmap.h"
#include "arch/x86_64/traps.h"
#include "kernel/atomic.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/panic.h"
#include "kernel/preempt.h"
#include "lab/counter.h"
#include <arch/irq.h>
#include <arch/machine.h>

#define MSR_APIC_BASE 0x1bu
#define APIC_BASE_X2 (1ull << 10)
#define APIC_BASE_ENABLE (1ull << 11)
#define MSR_X2APIC 0x800u		// + register offset / 16
#define TPR_CLASS_1 0x10u
#define ICR_WAIT_SPINS 1000000		// far longer than any delivery takes

static bool x2apic;
static volatile u32 *registers;		// xAPIC

bool apic_knows_id_by_leaf_b(void)
{
	return cpuid(0).eax >= 0xb && (cpuid_count(0xb, 0).ebx & 0xffff);
}

u32 apic_own_id(void)
{
	return apic_knows_id_by_leaf_b() ? cpuid_count(0xb, 0).edx : cpuid(1).ebx >> 24;
}

u32 apic_max_id(void) { return x2apic ? 0xfffffffe : 0xfe; }

const char *arch_apic_mode(void)
{
	return x2apic ? "x2apic" : registers ? "xapic" : "none";
}

u32 apic_read(enum apic_reg reg)
{
	return x2apic ? (u32)rdmsr(MSR_X2APIC + reg / 16) : registers[reg / 4];
}

void apic_write(enum apic_reg reg, u32 value)
{
	if (x2apic)
		wrmsr(MSR_X2APIC + reg / 16, value);
	else
		registers[reg / 4] = value;
}

void apic_eoi(void) { apic_write(APIC_EOI, 0); }

// IRR and ISR are 256 bits each, in eight registers.
static u32 vector_bits(enum apic_reg first, unsigned i) { return apic_read(first + i * 0x10); }

int apic_in_service(void)
{
	for (int i = 7; i >= 0; i--) {
		u32 bits = vector_bits(APIC_ISR, (unsigned)i);

		if (bits)
			return 32 * i + 31 - __builtin_clz(bits);
	}
	return -1;
}

bool apic_requested(u8 vector) { return vector_bits(APIC_IRR, vector / 32) >> vector % 32 & 1; }

// The APIC of QEMU and KVM has sent the interrupt when the write is done. A real APIC, which another hypervisor may
// pass through, takes longer, and must be idle before the next send.
static bool sends_at_once;

static void wait_icr_idle(void)
{
	if (sends_at_once)
		return;
	for (int i = 0; (registers[APIC_ICR / 4] & ICR_BUSY) && i < ICR_WAIT_SPINS; i++)
		cpu_relax();
}

// In xAPIC mode a send is two writes, and an interrupt or NMI that sends, too, may come between them. It lets its own
// send finish and then restores the destination, so that the interrupted code notices nothing. (Another thread would
// not restore it in time, so preemption is off.)
static void xapic_send(u32 apic_id, u32 command)
{
	bool nested = in_irq();
	u32 interrupted = nested ? registers[APIC_ICR_HIGH / 4] : 0;

	preempt_disable();
	wait_icr_idle();
	registers[APIC_ICR_HIGH / 4] = apic_id << 24;
	registers[APIC_ICR / 4] = command;
	if (nested) {
		wait_icr_idle();
		registers[APIC_ICR_HIGH / 4] = interrupted;
	}
	preempt_enable();
}

void apic_send(u32 apic_id, u32 command)
{
	if (!x2apic) {
		xapic_send(apic_id, command);
		return;
	}
	// This WRMSR is not serialising: without the fences the receiver could run before our stores are visible.
	__asm__ volatile("mfence; lfence" ::: "memory");
	wrmsr(MSR_X2APIC + APIC_ICR / 16, (u64)apic_id << 32 | command);
}

static void error_interrupt(struct trap_frame *f)
{
	static u32 errors;
	u32 status;

	apic_write(APIC_ESR, 0);	// latches the errors so far
	status = apic_read(APIC_ESR);
	apic_eoi();
	if (status && fetch_add_relaxed(&errors, 1) < 8)	// 0: left by firmware or boot loader
		log_error("apic: CPU %u: error status %#x", cpu_id(), status);
}

enum { PIC_MASTER = 0x20, PIC_SLAVE = 0xa0 };

static u16 pic_read(u8 command)		// the master's register in the lower half
{
	outb(PIC_MASTER, command);
	outb(PIC_SLAVE, command);
	return (u16)(inb(PIC_MASTER) | inb(PIC_SLAVE) << 8);
}

// Report what is requested or in service at the two 8259. A BIOS's timer tick nearly always is.
static void note_left_at_8259(void)
{
	enum { READ_IRR = 0x0a, READ_ISR = 0x0b };
	u16 mask = (u16)(inb(PIC_MASTER + 1) | inb(PIC_SLAVE + 1) << 8);
	u16 requested = pic_read(READ_IRR) & ~mask, in_service = pic_read(READ_ISR);

	if (mask == 0xffff && in_service == 0xffff)	// there is no 8259
		return;
	count_add(irq_left, (u64)(__builtin_popcount(requested) + __builtin_popcount(in_service)));
	if (requested || in_service)
		klog(in_service ? LOG_INFO : LOG_DEBUG, "8259: left requested %#x, in service %#x", requested, in_service);
}

static void silence_8259(void)
{
	enum { INIT_WITH_ICW4 = 0x11, MODE_8086 = 1 };

	// Clears what is requested and in service. The vectors are moved away from the exceptions although all lines
	// are masked: a spurious interrupt cannot be masked.
	outb(PIC_MASTER, INIT_WITH_ICW4);
	outb(PIC_SLAVE, INIT_WITH_ICW4);
	outb(PIC_MASTER + 1, VEC_PIC);
	outb(PIC_SLAVE + 1, VEC_PIC + 8);
	outb(PIC_MASTER + 1, 1 << 2);
	outb(PIC_SLAVE + 1, 2);
	outb(PIC_MASTER + 1, MODE_8086);
	outb(PIC_SLAVE + 1, MODE_8086);
	outb(PIC_MASTER + 1, 0xff);
	outb(PIC_SLAVE + 1, 0xff);
}

// Firmware may have left entries unmasked, at vectors that mean something else here.
static void silence_ioapic(u32 address)
{
	enum { SELECT = 0, WINDOW = 0x10 / 4, REG_VERSION = 1, REG_ENTRIES = 0x10 };
	volatile u32 *io = address ? arch_map_mmio(address, ACPI_IOAPIC_SIZE) : NULL;
	unsigned last;

	if (!io)
		return;
	io[SELECT] = REG_VERSION;
	last = io[WINDOW] >> 16 & 0xff;
	if (last > 239)		// reads as all ones: there is no I/O APIC
		return;
	for (unsigned i = 0; i <= last; i++) {
		io[SELECT] = REG_ENTRIES + 2 * i;
		io[WINDOW] |= APIC_MASKED;
	}
}

static void map_registers(void)
{
	u64 base = rdmsr(MSR_APIC_BASE) & PTE_ADDR, told = acpi_madt()->lapic_address;

	if (told && told != base)
		log_warn("apic: the MADT says %#llx, the processor says %#llx and is believed",
			 (unsigned long long)told, (unsigned long long)base);
	registers = arch_map_mmio(base, PAGE_SIZE);
	if (!registers)
		panic("the local APIC at %#llx cannot be mapped: it lies in RAM, or there is no memory", (unsigned long long)base);
}

void apic_init(void)
{
	const struct acpi_madt *madt = acpi_madt();

	if (!cpu_has_apic())
		panic("this processor has no local APIC, or the firmware has switched it off");
	x2apic = cpu_has_x2apic();
	sends_at_once = hypervisor_leaf("TCGTCGTCGTCG") || hypervisor_leaf("KVMKVMKVM\0\0\0");
	if (!x2apic)
		map_registers();
	note_left_at_8259();
	silence_8259();
	for (unsigned i = 0; i < madt->nr_ioapics; i++)
		silence_ioapic(madt->ioapic_address[i]);
	arch_set_irq_handler(VEC_APIC_ERROR, error_interrupt);
	apic_init_cpu();
}

// Name and count the vectors whose bits are set.
static void note_left(enum apic_reg first, const char *how)
{
	char list[128] = "";
	size_t n = 0;

	for (unsigned i = 0; i < 8; i++) {
		for (u32 bits = vector_bits(first, i); bits; bits &= bits - 1) {
			count(irq_left);
			if (n < sizeof(list))
				n += (size_t)ksnprintf(list + n, sizeof(list) - n, " %#x", 32 * i + (unsigned)__builtin_ctz(bits));
		}
	}
	if (n)
		log_info("apic: CPU %u: left %s:%s%s", cpu_id(), how, list, n < sizeof(list) ? "" : " ...");
}

// What firmware and boot loader have left. An interrupt in service would block all of lower priority, so it is
// acknowledged. One that is requested comes when interrupts are turned on, on a vector that is used here or as a stray.
static void take_over(void)
{
	note_left(APIC_ISR, "in service, now acknowledged");
	for (unsigned i = 0; i < NR_VECTORS && apic_in_service() >= 0; i++)
		apic_eoi();
	note_left(APIC_IRR, "requested");
}

void apic_init_cpu(void)
{
	u64 base = rdmsr(MSR_APIC_BASE) | APIC_BASE_ENABLE;
	unsigned last_lvt;

	wrmsr(MSR_APIC_BASE, base);	// enabled first: x2APIC mode cannot be entered from "off"
	if (x2apic)
		wrmsr(MSR_APIC_BASE, base | APIC_BASE_X2);
	last_lvt = apic_read(APIC_VERSION) >> 16 & 0xff;
	apic_write(APIC_SPURIOUS, APIC_SW_ENABLE | VEC_SPURIOUS);	// while this is off, LVT entries stay masked
	apic_write(APIC_TPR, TPR_CLASS_1);
	apic_write(APIC_LVT_TIMER, APIC_MASKED | VEC_TIMER);
	apic_write(APIC_LVT_LINT0, APIC_MASKED);
	apic_write(APIC_LVT_LINT1, cpu_id() ? APIC_MASKED : APIC_LVT_NMI);	// the machine's NMI line
	if (last_lvt >= 4)
		apic_write(APIC_LVT_PERF, APIC_MASKED);
	if (last_lvt >= 5)
		apic_write(APIC_LVT_THERMAL, APIC_MASKED);
	if (last_lvt >= 6)
		apic_write(APIC_LVT_CMCI, APIC_MASKED);
	apic_write(APIC_LVT_ERROR, VEC_APIC_ERROR);
	apic_write(APIC_ESR, 0);
	take_over();
}
