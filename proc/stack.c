// SPDX-License-Identifier: MIT
// See stack.h. From the top down:
//
//	STACK_TOP	a word of zeroes
//			the path, the environment's strings, the arguments, "x86_64"
//			16 random bytes, on an address that is a multiple of 16
//			0, 0 | … | auxiliary vector
//			0 | … | pointers to the environment's strings
//			0 | … | pointers to the arguments
//	sp		argc, on an address that is a multiple of 16
//
// The size of all that is counted first. Then it is written from below, in two places at once: words, and what they
// point to.
#include "proc/stack.h"
#include "kernel/errno.h"
#include "kernel/lib.h"
#include "kernel/panic.h"
#include "kernel/thread.h"
#include "mm/map.h"
#include "proc/elf_format.h"
#include <arch/uaccess.h>
#include <arch/user.h>

#define STRING_MAX (128ull << 10)	// with its zero; as Linux's MAX_ARG_STRLEN
#define CONTENTS_MAX (STACK_SIZE / 4)
#define STACK_BEGINNING (132ull << 10)	// mapped at first; as much as Linux maps
#define PLATFORM "x86_64"
#define CLOCK_TICKS 100

enum {
	AT_NULL = 0, AT_PHDR = 3, AT_PHENT = 4, AT_PHNUM = 5, AT_PAGESZ = 6, AT_BASE = 7, AT_FLAGS = 8, AT_ENTRY = 9,
	AT_UID = 11, AT_EUID = 12, AT_GID = 13, AT_EGID = 14, AT_PLATFORM = 15, AT_HWCAP = 16, AT_CLKTCK = 17,
	AT_SECURE = 23, AT_RANDOM = 25, AT_HWCAP2 = 26, AT_EXECFN = 31, AT_MINSIGSTKSZ = 51,
};
struct auxiliary { u64 type, value; };
#define NR_AUXILIARY 20		// with AT_NULL

struct writer {
	vaddr_t words, bytes;	// where the next one goes
	int err;		// -ENOMEM: one has failed, and the rest is left out. (Nobody unmaps meanwhile.)
};

static void put_word(struct writer *w, u64 v)
{
	if (!w->err && copy_out(w->words, &v, sizeof(v)))
		w->err = -ENOMEM;
	w->words += sizeof(v);
}

// Where they are.
static vaddr_t put_bytes(struct writer *w, const void *p, size_t n)
{
	vaddr_t at = w->bytes;

	if (!w->err && copy_out(at, p, n))
		w->err = -ENOMEM;
	w->bytes += n;
	return at;
}

static vaddr_t put_string(struct writer *w, const char *s) { return put_bytes(w, s, strlen(s) + 1); }

static void put_strings(struct writer *w, const char *const *s, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		put_word(w, put_string(w, s[i]));
	put_word(w, 0);
}

static void put_auxiliary(struct writer *w, const struct stack_contents *c, vaddr_t random, vaddr_t platform,
			  vaddr_t path)
{
	const struct auxiliary all[] = {
		{ AT_MINSIGSTKSZ, arch_user_min_sigstack() },
		{ AT_HWCAP, arch_user_hwcap() },
		{ AT_PAGESZ, PAGE_SIZE },
		{ AT_CLKTCK, CLOCK_TICKS },
		{ AT_PHDR, c->program->headers },
		{ AT_PHENT, sizeof(struct elf_program_header) },
		{ AT_PHNUM, c->program->nr_headers },
		{ AT_BASE, 0 },			// of the dynamic linker: none
		{ AT_FLAGS, 0 },
		{ AT_ENTRY, c->program->entry },
		{ AT_UID, 0 }, { AT_EUID, 0 }, { AT_GID, 0 }, { AT_EGID, 0 },
		{ AT_SECURE, 0 },
		{ AT_RANDOM, random },
		{ AT_HWCAP2, 0 },		// neither MWAIT nor RDFSBASE in user mode
		{ AT_EXECFN, path },
		{ AT_PLATFORM, platform },
		{ AT_NULL, 0 },
	};

	_Static_assert(ARRAY_SIZE(all) == NR_AUXILIARY, "as contents_size() counts them");
	for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
		put_word(w, all[i].type);
		put_word(w, all[i].value);
	}
}

// Adds a string's bytes; false: it is too long. No sum wraps: each string is short, and numbers are of 32 bits.
static bool count_string(u64 *bytes, const char *s)
{
	size_t n = strnlen(s, STRING_MAX);

	*bytes += n + 1;
	return n < STRING_MAX;
}

static bool count_strings(u64 *bytes, const char *const *s, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (!count_string(bytes, s[i]))
			return false;
	return true;
}

// What words and strings take.
static int contents_size(const struct stack_contents *c, u64 *words, u64 *bytes)
{
	*words = (1 + (c->argc + 1ull) + (c->envc + 1ull) + 2ull * NR_AUXILIARY) * sizeof(u64);
	*bytes = sizeof(c->random) + sizeof(PLATFORM);
	if (*words > CONTENTS_MAX || !count_string(bytes, c->path) || !count_strings(bytes, c->argv, c->argc) ||
	    !count_strings(bytes, c->envp, c->envc) || *words + *bytes > CONTENTS_MAX)
		return -E2BIG;
	return 0;
}

static int write_contents(const struct stack_contents *c, vaddr_t sp, vaddr_t strings)
{
	struct writer w = { .words = sp, .bytes = strings };
	vaddr_t random = put_bytes(&w, c->random, sizeof(c->random)), platform = put_string(&w, PLATFORM), path;

	put_word(&w, c->argc);
	put_strings(&w, c->argv, c->argc);
	put_strings(&w, c->envp, c->envc);
	path = put_string(&w, c->path);
	put_auxiliary(&w, c, random, platform, path);
	ASSERT(w.words <= strings && w.bytes <= STACK_TOP - sizeof(u64));
	return w.err;
}

int stack_build(struct space *s, const struct stack_contents *c, vaddr_t *sp)
{
	const struct region_kind kind = { .prot = PROT_R | PROT_W | (c->executable ? PROT_X : 0), .level = 1,
		.flags = REGION_GROWSDOWN };
	u64 words, bytes;
	vaddr_t strings;
	int err = contents_size(c, &words, &bytes);

	ASSERT(current->space == s);
	if (err)
		return err;
	err = space_map_kind(s, STACK_TOP - STACK_BEGINNING, STACK_BEGINNING, &kind);
	if (err)
		return err;
	WRITE_ONCE(s->stack_limit, STACK_SIZE);
	strings = ALIGN_DOWN(STACK_TOP - sizeof(u64) - bytes, 16);
	*sp = ALIGN_DOWN(strings - words, 16);
	return write_contents(c, *sp, strings);
}
