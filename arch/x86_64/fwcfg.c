// SPDX-License-Identifier: MIT
// QEMU's firmware configuration device (QEMU docs/specs/fw_cfg): named files. A file is selected by its key, and then
// read byte by byte through a port, or by DMA in one go. What it says of itself is big-endian.
#include "arch/x86_64/fwcfg.h"
#include "arch/x86_64/io.h"
#include "arch/x86_64/kmap.h"
#include "kernel/cmdline.h"
#include "kernel/lib.h"
#include <arch/atomic.h>

enum { PORT_SELECT = 0x510, PORT_DATA = 0x511, PORT_DMA_HIGH = 0x514, PORT_DMA_LOW = 0x518 };
enum { KEY_SIGNATURE = 0, KEY_FEATURES = 1, KEY_DIRECTORY = 0x19 };
enum { FEATURE_DMA = 1 << 1 };			// KEY_FEATURES is little-endian
enum { DMA_ERROR = 1 << 0, DMA_READ = 1 << 1, DMA_SELECT = 1 << 3, DMA_KEY_SHIFT = 16 };
#define MAX_FILES 4096

struct entry {	// of the directory
	u32 size;
	u16 key, reserved;
	char name[56];
};
struct transfer {
	u32 control, length;
	u64 address;
};
_Static_assert(sizeof(struct entry) == 64 && sizeof(struct transfer) == 16, "QEMU docs/specs/fw_cfg");

static void read_bytes(void *to, size_t n)
{
	__asm__ volatile("rep insb" : "+D"(to), "+c"(n) : "d"(PORT_DATA) : "memory");
}

static void read_key(u16 key, void *to, size_t n)
{
	outw(PORT_SELECT, key);
	read_bytes(to, n);
}

static bool is_there(void)
{
	char signature[4];

	read_key(KEY_SIGNATURE, signature, sizeof(signature));
	return !memcmp(signature, "QEMU", 4);
}

bool fwcfg_find(const char *name, struct fwcfg_file *f)
{
	struct entry e;
	u32 n;

	if (!is_there())
		return false;
	read_key(KEY_DIRECTORY, &n, sizeof(n));
	n = __builtin_bswap32(n);
	for (u32 i = 0; i < MIN(n, (u32)MAX_FILES); i++) {
		read_bytes(&e, sizeof(e));
		if (strncmp(e.name, name, sizeof(e.name)))
			continue;
		*f = (struct fwcfg_file){ .key = __builtin_bswap16(e.key), .size = __builtin_bswap32(e.size) };
		return true;
	}
	return false;
}

// The device is told where the transfer's description lies, and sets its control word to 0, or to an error, when it has
// written everything.
static bool read_by_dma(const struct fwcfg_file *f, paddr_t to, u32 n)
{
	static struct transfer t __aligned(16);
	u32 features, control;

	read_key(KEY_FEATURES, &features, sizeof(features));
	if (!(features & FEATURE_DMA))
		return false;
	t = (struct transfer){
		.control = __builtin_bswap32((u32)f->key << DMA_KEY_SHIFT | DMA_SELECT | DMA_READ),
		.length = __builtin_bswap32(n), .address = __builtin_bswap64(to),
	};
	outl(PORT_DMA_HIGH, __builtin_bswap32((u32)(image_to_phys(&t) >> 32)));
	outl(PORT_DMA_LOW, __builtin_bswap32((u32)image_to_phys(&t)));
	while ((control = __builtin_bswap32(READ_ONCE(t.control))) & ~(u32)DMA_ERROR)
		cpu_relax();
	barrier();	// what it has written is read after this
	return !control;
}

void fwcfg_read(const struct fwcfg_file *f, paddr_t to, u32 n)
{
	if (!read_by_dma(f, to, n))
		read_key(f->key, phys_to_virt(to), n);
}

size_t fwcfg_read_line(const char *name, char *to, size_t size)
{
	struct fwcfg_file f;
	size_t n;

	to[0] = '\0';
	if (!fwcfg_find(name, &f))
		return 0;
	n = MIN((size_t)f.size, size - 1);
	read_key(f.key, to, n);
	to[n] = '\0';
	return n;
}

const char *fwcfg_cmdline(size_t *len)
{
	static char line[CMDLINE_MAX + 2];

	*len = fwcfg_read_line("opt/quiesce/cmdline", line, sizeof(line));
	return line;
}
