// SPDX-License-Identifier: MIT
// See args.h. An argument is never longer than its text in the line, and its zero takes the place of the blank behind
// it: so what fits in the line fits in `text`.
#include "proc/args.h"
#include "kernel/string.h"

struct splitter {
	const char *in;
	char *out;
};

static bool blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// Also a backslash with a newline, which is nothing at all.
static void skip_blanks(struct splitter *s)
{
	while (blank(*s->in) || (s->in[0] == '\\' && s->in[1] == '\n'))
		s->in += blank(*s->in) ? 1 : 2;
}

// Behind a backslash.
static const char *take_escaped(struct splitter *s)
{
	if (!*s->in)
		return "arguments: nothing behind a backslash";
	if (*s->in != '\n')
		*s->out++ = *s->in;
	s->in++;
	return NULL;
}

static const char *take_single(struct splitter *s)
{
	while (*s->in && *s->in != '\'')
		*s->out++ = *s->in++;
	return *s->in++ ? NULL : "arguments: a ' without its partner";
}

static const char *take_double(struct splitter *s)
{
	while (*s->in && *s->in != '"') {
		if (s->in[0] == '\\' && s->in[1] && strchr("\"\\$`\n", s->in[1])) {
			s->in++;
			take_escaped(s);
		} else {
			*s->out++ = *s->in++;
		}
	}
	return *s->in++ ? NULL : "arguments: a \" without its partner";
}

static const char *take_argument(struct splitter *s)
{
	const char *error = NULL;

	while (!error && *s->in && !blank(*s->in)) {
		char c = *s->in++;

		if (c == '\'')
			error = take_single(s);
		else if (c == '"')
			error = take_double(s);
		else if (c == '\\')
			error = take_escaped(s);
		else
			*s->out++ = c;
	}
	return error;
}

const char *args_split(const char *line, struct args *out)
{
	struct splitter s = { line, out->text };

	out->n = 0;
	out->v[0] = NULL;
	if (strnlen(line, ARGS_TEXT) == ARGS_TEXT)
		return "arguments: more than 4095 characters";
	for (;;) {
		const char *error;

		skip_blanks(&s);
		if (!*s.in)
			return NULL;
		if (out->n == ARGS_MAX)
			return "arguments: more than 256";
		out->v[out->n] = s.out;
		error = take_argument(&s);
		if (error)
			return error;
		*s.out++ = '\0';
		out->v[++out->n] = NULL;
	}
}
