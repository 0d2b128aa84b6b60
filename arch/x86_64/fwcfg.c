// SPDX-License-Identifier: MIT
// QEMU's firmware configuration device: named files, read byte by byte through a port. Everything that comes out of it
// is checked: another device may sit at these ports.
#include "arch/x86_64/fwcfg.h"
#include "arch/x86_64/io.h"
#include "kernel/cmdline.h"
#include "kernel/lib.h"

enum { PORT_SELECT = 0x510, PORT_DATA = 0x511 };
enum { KEY_SIGNATURE = 0, KEY_DIRECTORY = 0x19 };
#define MAX_FILES 4096
#define NAME "opt/quiesce/cmdline"

struct file {	// as in the directory: big-endian
	u32 size;
	u16 key, reserved;
	char name[56];
};
_Static_assert(sizeof(struct file) == 64, "QEMU docs/specs/fw_cfg");

static void read_bytes(void *to, size_t n)
{
	__asm__ volatile("rep insb" : "+D"(to), "+c"(n) : "d"(PORT_DATA) : "memory");
}

static bool is_there(void)
{
	char signature[4];

	outw(PORT_SELECT, KEY_SIGNATURE);
	read_bytes(signature, sizeof(signature));
	return !memcmp(signature, "QEMU", 4);
}

static bool find_file(struct file *f)
{
	u32 n;

	outw(PORT_SELECT, KEY_DIRECTORY);
	read_bytes(&n, sizeof(n));
	n = __builtin_bswap32(n);
	for (u32 i = 0; i < MIN(n, (u32)MAX_FILES); i++) {
		read_bytes(f, sizeof(*f));
		if (!strncmp(f->name, NAME, sizeof(f->name)))
			return true;
	}
	return false;
}

const char *fwcfg_cmdline(size_t *len)
{
	static char line[CMDLINE_MAX + 2];
	struct file f;

	*len = 0;
	if (!is_there() || !find_file(&f))
		return "";
	*len = MIN((size_t)__builtin_bswap32(f.size), sizeof(line) - 1);
	outw(PORT_SELECT, __builtin_bswap16(f.key));
	read_bytes(line, *len);
	line[*len] = '\0';
	return line;
}
