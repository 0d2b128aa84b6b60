// SPDX-License-Identifier: MIT
// Command-line keys. A key is declared where it is used; the parser finds all of them in a linker section. GRUB's line
// is read first, QEMU's fw_cfg line overrides it key by key. Any error is printed with what is valid and ends the run.
#pragma once
#include "kernel/types.h"

struct cmdline_key {
	const char *name;
	const char *valid;			// "VALUES (what it means; default VALUE)": part of an error, and a row of
						// docs/reference.md (tools/reference.py)
	const char *(*set)(const char *value);	// NULL: accepted; otherwise what is wrong
	void (*print_valid)(void);		// optional: prints the list of valid values, below the error
};
#define CMDLINE_KEY(key, doc, fn) \
	static const struct cmdline_key cmdkey_##key = { .name = #key, .valid = (doc), .set = (fn) }; \
	REGISTER(cmdline_keys, cmdkey_##key)
#define CMDLINE_KEY_LIST(key, doc, fn, print) \
	static const struct cmdline_key cmdkey_##key = { .name = #key, .valid = "one of those below (" doc ")", .set = (fn), \
							 .print_valid = (print) }; \
	REGISTER(cmdline_keys, cmdkey_##key)

// Longest line and longest key=value that are accepted.
#define CMDLINE_MAX 1024
#define CMDLINE_TOKEN_MAX 160

// Parse both sources; false: errors were printed. fw_cfg's values win, key by key. Both lines are checked in full; a
// key that is given twice in one line is an error. fw_cfg's line has a length, and a zero byte follows it. A zero byte
// within the length, its last byte included, is refused like any control character: to cut the line there would
// silently make it another line.
bool cmdline_parse_all(const char *grub, const char *fw_cfg, size_t fw_cfg_len);
// Parse one source, of that length; the errors go to `report`, one call each, without the print_valid lists. For tests.
bool cmdline_parse_to(const char *source, const char *line, size_t len, void (*report)(const char *error));
// Merge two lines that have been accepted: the first without the keys that the second has, then the second. Returns the
// length of the whole text, as ksnprintf() does.
size_t cmdline_merge(const char *grub, const char *fw_cfg, char *buf, size_t size);

extern char opt_test[128], opt_bench[128];	// globs
extern char opt_trace[128];			// glob: which scenes (mode=trace); in other modes: record all the time. "": not given
extern u64 opt_seed;
extern u32 opt_seconds;				// 0: the mode's default
extern u32 opt_cpus;				// 0: all
