// SPDX-License-Identifier: MIT
// What a program finds when it starts: arguments, environment, auxiliary vector, stack. It prints its arguments.
#include "user/common/check.h"
#include <cpuid.h>
#include <elf.h>
#include <string.h>
#include <sys/auxv.h>

extern const Elf64_Ehdr __ehdr_start;
extern const char _start[];

static const char *after_slash(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

// The vector itself, behind the environment.
static const Elf64_auxv_t *vector_behind(char **envp)
{
	while (*envp)
		envp++;
	return (const Elf64_auxv_t *)(envp + 1);
}

static const Elf64_auxv_t *entry(const Elf64_auxv_t *v, unsigned long type)
{
	for (; v->a_type != AT_NULL; v++)
		if (v->a_type == type)
			return v;
	return NULL;
}

static unsigned long value(const Elf64_auxv_t *v, unsigned long type, const char *name)
{
	const Elf64_auxv_t *e = entry(v, type);

	if (!e) {
		say("FAILED: no %s", name);
		_exit(1);
	}
	if (type != AT_HWCAP)	// for which glibc makes up its own
		CHECK_EQ(getauxval(type), e->a_un.a_val);
	return e->a_un.a_val;
}
#define VALUE(v, type) value(v, type, #type)

static void check_program(const Elf64_auxv_t *v)
{
	CHECK_EQ(VALUE(v, AT_PHDR), (uintptr_t)&__ehdr_start + __ehdr_start.e_phoff);
	CHECK_EQ(VALUE(v, AT_PHNUM), __ehdr_start.e_phnum);
	CHECK_EQ(VALUE(v, AT_PHENT), sizeof(Elf64_Phdr));
	CHECK_EQ(VALUE(v, AT_ENTRY), (uintptr_t)_start);
	CHECK_EQ(VALUE(v, AT_BASE), 0);
	CHECK_EQ(VALUE(v, AT_FLAGS), 0);
	say("AT_PHDR, AT_PHNUM, AT_PHENT, AT_ENTRY, AT_BASE, AT_FLAGS: this program's");
}

static void check_machine(const Elf64_auxv_t *v)
{
	unsigned int eax, ebx, ecx, edx;

	CHECK(__get_cpuid(1, &eax, &ebx, &ecx, &edx));
	CHECK_EQ(VALUE(v, AT_HWCAP), edx);
	CHECK(entry(v, AT_HWCAP2));
	CHECK(VALUE(v, AT_MINSIGSTKSZ) >= 1024 && VALUE(v, AT_MINSIGSTKSZ) < 1 << 20);
	say("AT_PAGESZ %lu, AT_CLKTCK %lu; AT_HWCAP: CPUID's; AT_HWCAP2, AT_MINSIGSTKSZ: there", VALUE(v, AT_PAGESZ),
	    VALUE(v, AT_CLKTCK));
}

static void check_owner(const Elf64_auxv_t *v)
{
	CHECK_EQ(VALUE(v, AT_UID), raw(SYS_getuid));
	CHECK_EQ(VALUE(v, AT_EUID), raw(SYS_geteuid));
	CHECK_EQ(VALUE(v, AT_GID), raw(SYS_getgid));
	CHECK_EQ(VALUE(v, AT_EGID), raw(SYS_getegid));
	say("AT_UID, AT_EUID, AT_GID, AT_EGID: as the calls say; AT_SECURE %lu", VALUE(v, AT_SECURE));
}

static void check_strings(const Elf64_auxv_t *v, char **argv)
{
	const unsigned char *random = (const unsigned char *)VALUE(v, AT_RANDOM);
	int different = 0;

	for (int i = 1; i < 16; i++)
		different += random[i] != random[0];
	CHECK(different);
	CHECK(!strcmp(after_slash((const char *)VALUE(v, AT_EXECFN)), after_slash(argv[0])));
	say("AT_RANDOM: 16 bytes; AT_EXECFN: argv[0]'s name");
}

static unsigned long zeroes[PAGE];	// .bss, of several pages
static unsigned long ones = ~0ul;	// .data

int main(int argc, char **argv, char **envp)
{
	const Elf64_auxv_t *v = vector_behind(envp);

	say("hello from ring %d", ({ int cs; __asm__("mov %%cs, %0" : "=r"(cs)); cs & 3; }));
	say("argv[0] \"%s\"", after_slash(argv[0]));
	for (int i = 1; i < argc; i++)
		say("argv[%d] \"%s\"", i, argv[i]);
	CHECK(!argv[argc] && envp == argv + argc + 1);
	for (int i = 0; envp[i]; i++)
		say("environment: \"%s\"", envp[i]);
	CHECK_EQ(((uintptr_t)argv - 8) % 16, 0);	// argc is where the stack pointer was
	check_program(v);
	check_machine(v);
	check_owner(v);
	check_strings(v, argv);
	for (size_t i = 0; i < PAGE; i++)
		CHECK_EQ(zeroes[i], 0);
	zeroes[1] = ones;
	CHECK_EQ(zeroes[1] + 1, 0);
	say("data and zeroes: right");
	return 0;
}
