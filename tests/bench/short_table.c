// SPDX-License-Identifier: MIT
#include "tests/bench/short_table.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "mm/frame/slab.h"

#define CELL_MAX 12	// with its zero; " %11s" below

static const char *const *heading;
static unsigned columns;
static struct row {
	char cell[SHORT_TABLE_COLUMNS][CELL_MAX];
} *rows;		// in the policies' order

void short_table_begin(const char *const *headings, unsigned n)
{
	unsigned policies = 0;

	FOR_EACH_POLICY(p)
		policies++;
	heading = headings;
	columns = MIN(n, (unsigned)SHORT_TABLE_COLUMNS);
	rows = kzalloc(policies * sizeof(*rows));
	if (!rows)
		log_warn("no memory for the short table");
}

void short_table_set(const struct table_policy *p, unsigned column, const char *fmt, ...)
{
	struct row *row = rows;
	va_list ap;

	if (!rows || column >= columns)
		return;
	FOR_EACH_POLICY(it) {
		if (*it == p)
			break;
		row++;
	}
	va_start(ap, fmt);
	kvsnprintf(row->cell[column], CELL_MAX, fmt, ap);
	va_end(ap);
}

static void print_row(const char *name, const char *(*text)(const struct row *row, unsigned column), const struct row *row)
{
	char line[128];
	size_t n = (size_t)ksnprintf(line, sizeof(line), "# %-10s", name);

	for (unsigned i = 0; i < columns && n < sizeof(line); i++)
		n += (size_t)ksnprintf(line + n, sizeof(line) - n, " %11s", text(row, i));
	kprintf("%s\n", line);
}

static const char *heading_text(const struct row *row, unsigned column) { return heading[column]; }
static const char *cell_text(const struct row *row, unsigned column) { return *row->cell[column] ? row->cell[column] : "-"; }

void short_table_print(void)
{
	const struct row *row = rows;

	if (!rows)
		return;
	print_row("policy", heading_text, NULL);
	FOR_EACH_POLICY(p)
		print_row((*p)->name, cell_text, row++);
	kfree(rows);
	rows = NULL;
}
