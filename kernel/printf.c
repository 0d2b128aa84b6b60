// SPDX-License-Identifier: MIT
// Formatted text into a buffer. Pure: no lock, no allocation, any context.
#include "kernel/printf.h"
#include "kernel/string.h"

struct out {
	char *buf;
	size_t size, len;	// len counts what was wanted, also beyond size
};

struct spec {
	bool left, zero, plus, alternate;
	int width, precision;	// precision -1: none given
	int longs;		// 0 int, 1 long, 2 long long; -1 short, -2 char
};

static void put(struct out *o, char c)
{
	if (o->len + 1 < o->size)
		o->buf[o->len] = c;
	o->len++;
}

static void pad(struct out *o, char c, int n)
{
	while (n-- > 0)
		put(o, c);
}

static void put_string(struct out *o, const struct spec *sp, const char *s)
{
	size_t n;

	if (!s)
		s = "(null)";
	n = sp->precision >= 0 ? strnlen(s, (size_t)sp->precision) : strlen(s);
	if (!sp->left)
		pad(o, ' ', sp->width - (int)n);
	for (size_t i = 0; i < n; i++)
		put(o, s[i]);
	if (sp->left)
		pad(o, ' ', sp->width - (int)n);
}

// prefix, zeros, digits, with blanks on one side: |  -0042|, |0x00ff  |.
static void put_number(struct out *o, const struct spec *sp, u64 v, unsigned base, const char *digits,
		       const char *prefix)
{
	char text[64];
	int n = 0, zeros, prefix_len = (int)strlen(prefix);

	for (; v; v /= base)
		text[n++] = digits[v % base];
	if (!n && sp->precision != 0)
		text[n++] = '0';
	zeros = sp->precision - n;
	if (sp->precision < 0 && sp->zero && !sp->left)
		zeros = sp->width - prefix_len - n;
	if (zeros < 0)
		zeros = 0;
	if (!sp->left)
		pad(o, ' ', sp->width - prefix_len - zeros - n);
	while (*prefix)
		put(o, *prefix++);
	pad(o, '0', zeros);
	for (int i = n; i-- > 0;)
		put(o, text[i]);
	if (sp->left)
		pad(o, ' ', sp->width - prefix_len - zeros - n);
}

static int parse_decimal(const char **fmt)
{
	int n = 0;

	for (; **fmt >= '0' && **fmt <= '9'; (*fmt)++)
		n = n < 10000 ? n * 10 + (**fmt - '0') : n;
	return n;
}

static const char *parse_flags(const char *fmt, struct spec *sp)
{
	for (;; fmt++) {
		if (*fmt == '-')
			sp->left = true;
		else if (*fmt == '0')
			sp->zero = true;
		else if (*fmt == '+')
			sp->plus = true;
		else if (*fmt == '#')
			sp->alternate = true;
		else
			return fmt;
	}
}

static const char *parse_length(const char *fmt, struct spec *sp)
{
	for (;; fmt++) {
		if (*fmt == 'l')
			sp->longs++;
		else if (*fmt == 'h')
			sp->longs--;
		else if (*fmt == 'z' || *fmt == 'j' || *fmt == 't')
			sp->longs = 1;
		else
			return fmt;
	}
}

static s64 narrow_signed(s64 v, int longs)
{
	return longs > 0 ? v : longs == 0 ? (int)v : longs == -1 ? (short)v : (signed char)v;
}

static u64 narrow_unsigned(u64 v, int longs)
{
	return longs > 0 ? v : longs == 0 ? (unsigned)v : longs == -1 ? (unsigned short)v : (unsigned char)v;
}

static void put_signed(struct out *o, const struct spec *sp, s64 v)
{
	u64 magnitude = v < 0 ? -(u64)v : (u64)v;

	put_number(o, sp, magnitude, 10, "0123456789", v < 0 ? "-" : sp->plus ? "+" : "");
}

// va_arg on a va_list that came as a parameter needs one function or a struct around it.
struct args {
	va_list ap;
};

static void convert(struct out *o, struct spec *sp, char c, struct args *a)
{
	static const char lower[] = "0123456789abcdef", upper[] = "0123456789ABCDEF";
	char one[2] = { 0 };
	u64 v;

	switch (c) {
	case 'd':
	case 'i':
		put_signed(o, sp, narrow_signed(sp->longs > 0 ? va_arg(a->ap, s64) : va_arg(a->ap, int), sp->longs));
		break;
	case 'u':
	case 'x':
	case 'X':
	case 'o':
		v = narrow_unsigned(sp->longs > 0 ? va_arg(a->ap, u64) : va_arg(a->ap, unsigned), sp->longs);
		put_number(o, sp, v, c == 'u' ? 10 : c == 'o' ? 8 : 16, c == 'X' ? upper : lower,
			   sp->alternate && v && c != 'u' ? (c == 'o' ? "0" : c == 'X' ? "0X" : "0x") : "");
		break;
	case 'p':
		put_number(o, sp, (uintptr_t)va_arg(a->ap, void *), 16, lower, "0x");
		break;
	case 'c':
		one[0] = (char)va_arg(a->ap, int);
		sp->precision = one[0] ? -1 : 0;
		put_string(o, sp, one);
		break;
	case 's':
		put_string(o, sp, va_arg(a->ap, const char *));
		break;
	default:	// an unknown conversion is shown as it stands
		put(o, '%');
		if (c != '%')
			put(o, c);
	}
}

int kvsnprintf(char *buf, size_t size, const char *fmt, va_list ap)
{
	struct out o = { .buf = buf, .size = size };
	struct args a;

	va_copy(a.ap, ap);
	for (; *fmt; fmt++) {
		struct spec sp = { .precision = -1 };

		if (*fmt != '%') {
			put(&o, *fmt);
			continue;
		}
		fmt = parse_flags(fmt + 1, &sp);
		if (*fmt == '*') {
			sp.width = va_arg(a.ap, int);
			sp.left |= sp.width < 0;
			sp.width = sp.width < 0 ? -sp.width : sp.width;
			fmt++;
		} else {
			sp.width = parse_decimal(&fmt);
		}
		if (*fmt == '.') {
			fmt++;
			if (*fmt == '*') {
				sp.precision = va_arg(a.ap, int);
				fmt++;
			} else {
				sp.precision = parse_decimal(&fmt);
			}
		}
		fmt = parse_length(fmt, &sp);
		if (!*fmt)
			break;
		convert(&o, &sp, *fmt, &a);
	}
	va_end(a.ap);
	if (size)
		buf[o.len < size ? o.len : size - 1] = '\0';
	return (int)o.len;
}

int ksnprintf(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = kvsnprintf(buf, size, fmt, ap);
	va_end(ap);
	return n;
}
