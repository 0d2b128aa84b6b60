// SPDX-License-Identifier: MIT
// The command-line parser. A line is hostile until proven otherwise: every character is checked, nothing is copied
// without a bound, and each error says what would have been valid.
#include "kernel/cmdline.h"
#include "kernel/lib.h"
#include "kernel/log.h"

#define MAX_KEYS 64
#define MAX_ERRORS 8	// a line of garbage must not bury the console

struct parser {
	const char *source;
	void (*report)(const char *error);
	bool print_lists;
	unsigned errors;
	bool seen[MAX_KEYS];
};

static void __printf(2, 3) complain(struct parser *p, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	int n;

	if (p->errors++ >= MAX_ERRORS)
		return;
	n = ksnprintf(text, sizeof(text), "command line (%s): ", p->source);
	va_start(ap, fmt);
	kvsnprintf(text + n, sizeof(text) - (size_t)n, fmt, ap);
	va_end(ap);
	p->report(text);
}

// Only for what was found before: the list is bounded by the number of keys.
static const char *valid_keys(char *buf, size_t size)
{
	size_t n = 0;

	buf[0] = '\0';
	FOR_EACH_REGISTERED(cmdline_keys, const struct cmdline_key, k)
		if (n < size)
			n += (size_t)ksnprintf(buf + n, size - n, "%s%s=", n ? " " : "", (*k)->name);
	return buf;
}

static const struct cmdline_key *find_key(const char *name, size_t *index)
{
	size_t i = 0;

	FOR_EACH_REGISTERED(cmdline_keys, const struct cmdline_key, k) {
		*index = i++;
		if (i <= MAX_KEYS && !strcmp((*k)->name, name))
			return *k;
	}
	return NULL;
}

static void print_list(const struct parser *p, const struct cmdline_key *key)
{
	if (key->print_valid && p->print_lists)
		key->print_valid();
}

static void set_value(struct parser *p, const struct cmdline_key *key, const char *value)
{
	const char *wrong = key->set(value);

	if (!wrong)
		return;
	complain(p, "%s=%s: %s; valid: %s", key->name, value, wrong, key->valid);
	print_list(p, key);
}

// One "key=value", terminated, printable.
static void parse_token(struct parser *p, char *token)
{
	char keys[384], *equals = strchr(token, '=');
	const struct cmdline_key *key;
	size_t index;

	if (!equals) {
		complain(p, "\"%s\" is no key=value; valid keys: %s", token, valid_keys(keys, sizeof(keys)));
		return;
	}
	*equals = '\0';
	key = find_key(token, &index);
	if (!key)
		complain(p, "unknown key \"%s\"; valid keys: %s", token, valid_keys(keys, sizeof(keys)));
	else if (p->seen[index])
		complain(p, "%s= is given twice; give it once", key->name);
	else if (equals[1])
		set_value(p, key, equals + 1);
	else {
		complain(p, "%s= has no value; valid: %s", key->name, key->valid);
		print_list(p, key);
	}
	if (key)
		p->seen[index] = true;
}

// The whole line: its length and every character, before anything is looked up. False: hopeless.
static bool check_characters(struct parser *p, const char *line, size_t len)
{
	if (len > CMDLINE_MAX) {
		complain(p, "longer than %d characters", CMDLINE_MAX);
		return false;
	}
	for (size_t i = 0; i < len; i++) {
		if (line[i] < ' ' || line[i] > '~') {
			complain(p, "character 0x%02x at column %zu; valid: printable ASCII", (u8)line[i], i + 1);
			return false;
		}
	}
	return true;
}

static bool parse(struct parser *p, const char *line, size_t len)
{
	char token[CMDLINE_TOKEN_MAX + 1];

	if (!check_characters(p, line, len))
		return false;
	while (*line) {
		size_t n = 0;

		while (line[n] && line[n] != ' ')
			n++;
		if (n > CMDLINE_TOKEN_MAX) {
			complain(p, "\"%.32s...\" is longer than %d characters", line, CMDLINE_TOKEN_MAX);
		} else if (n) {
			memcpy(token, line, n);
			token[n] = '\0';
			parse_token(p, token);
		}
		line += n;
		while (*line == ' ')
			line++;
	}
	if (p->errors > MAX_ERRORS) {
		unsigned hidden = p->errors - MAX_ERRORS;

		p->errors = 0;
		complain(p, "%u more errors are not shown", hidden);
	}
	return !p->errors;
}

static void report_to_log(const char *error) { log_error("%s", error); }

bool cmdline_parse_to(const char *source, const char *line, size_t len, void (*report)(const char *error))
{
	return parse(&(struct parser){ .source = source, .report = report }, line, len);
}

static bool parse_source(const char *source, const char *line, size_t len)
{
	return parse(&(struct parser){ .source = source, .report = report_to_log, .print_lists = true }, line, len);
}

bool cmdline_parse_all(const char *grub, const char *fw_cfg, size_t fw_cfg_len)
{
	bool ok = parse_source("grub", grub, strlen(grub));

	return parse_source("fw_cfg", fw_cfg, fw_cfg_len) && ok;	// the later call wins, key by key
}

// The next word of a line; its length, 0 at the end.
static size_t next_word(const char **line)
{
	size_t n = 0;

	while (**line == ' ')
		(*line)++;
	while ((*line)[n] && (*line)[n] != ' ')
		n++;
	return n;
}

// Does the line have the key of this word?
static bool has_key(const char *line, const char *word)
{
	const char *equals = strchr(word, '=');

	for (size_t n; (n = next_word(&line)); line += n)
		if (equals && !strncmp(line, word, (size_t)(equals - word) + 1))
			return true;
	return false;
}

size_t cmdline_merge(const char *grub, const char *fw_cfg, char *buf, size_t size)
{
	const char *const lines[] = { grub, fw_cfg };
	size_t len = 0;

	buf[0] = '\0';
	for (unsigned i = 0; i < ARRAY_SIZE(lines); i++) {
		const char *at = lines[i];

		for (size_t n; (n = next_word(&at)); at += n)
			if (i || !has_key(fw_cfg, at))
				len += (size_t)ksnprintf(buf + MIN(len, size), size - MIN(len, size), "%s%.*s", len ? " " : "", (int)n, at);
	}
	return len;
}
