/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The live view's list of connections. The keys of the first one are the names of the columns.
 */
#include <stdlib.h>
#include <string.h>

#include "stmstat/live.h"

enum { AS_LISTED, FIRST_KEY, MOST_KEYS = 32 };

typedef struct {
    const stm_view_t *view;
    const stm_view_row_t *row;
    size_t place; /* as listed: by VP, busy ones first */
} line_t;

static line_t *lines;
static int count, sorting, direction;
static int widths[MOST_KEYS];

static unsigned keys(void)
{
    uint64_t pairs = count ? lines[0].row->row.pairs : 0;

    return pairs < MOST_KEYS ? (unsigned)pairs : MOST_KEYS;
}

static const char *order_name(int order)
{
    static char name[64];

    if (order == AS_LISTED)
        return "VP, busy first";
    if ((unsigned)(order - FIRST_KEY) >= keys())
        return NULL;
    snprintf(name, sizeof(name), "%s",
             stm_view_key(lines[0].view, lines[0].row, (unsigned)(order - FIRST_KEY)));
    return name;
}

static const char *value_of(const line_t *line, unsigned pair)
{
    return pair < line->row->row.pairs ? stm_view_value(line->view, line->row, pair) : "";
}

/* Compares numbers by value: a shorter one is smaller. */
static int compare_values(const char *a, const char *b)
{
    size_t digits_a = strspn(a, "0123456789"), digits_b = strspn(b, "0123456789");

    if (*a && *b && !a[digits_a] && !b[digits_b] && digits_a != digits_b)
        return digits_a < digits_b ? 1 : -1;
    if (*a && *b && !a[digits_a] && !b[digits_b])
        return strcmp(b, a);
    return strcmp(a, b);
}

static int compare(const void *left, const void *right)
{
    const line_t *a = left, *b = right;
    int result = 0;

    if (sorting >= FIRST_KEY)
        result = compare_values(value_of(a, (unsigned)(sorting - FIRST_KEY)),
                                value_of(b, (unsigned)(sorting - FIRST_KEY)));
    if (result == 0)
        result = a->place < b->place ? -1 : 1;
    return result * direction;
}

static void widen(unsigned pair, const char *text)
{
    int length = (int)strlen(text);

    if (length > widths[pair])
        widths[pair] = length;
}

static void measure(void)
{
    memset(widths, 0, sizeof(widths));
    for (unsigned pair = 0; pair < keys(); pair++) {
        widen(pair, stm_view_key(lines[0].view, lines[0].row, pair));
        for (int i = 0; i < count; i++)
            widen(pair, value_of(&lines[i], pair));
    }
}

static int make(int order, bool backwards)
{
    size_t all = 0;

    for (int i = 0; i < live.scan.count; i++)
        all += live.scan.views[i].row_count;
    free(lines);
    lines = calloc(all + 1, sizeof(*lines));
    count = 0;
    for (int i = 0; lines && i < live.scan.count; i++) {
        const stm_view_t *view = &live.scan.views[i];

        for (unsigned n = 0; n < view->row_count; n++, count++)
            lines[count] = (line_t){view, view->rows[n], (size_t)count};
    }
    measure();
    sorting = order;
    direction = backwards ? -1 : 1;
    if (count)
        qsort(lines, (size_t)count, sizeof(*lines), compare);
    return count;
}

static void head(char line[LIVE_LINE])
{
    live_add(line, "%3s %8s", "VP", "conn");
    for (unsigned pair = 0; pair < keys(); pair++)
        live_add(line, "  %-*s", widths[pair], stm_view_key(lines[0].view, lines[0].row, pair));
}

static void row(int index, char line[LIVE_LINE])
{
    const line_t *of = &lines[index];

    live_add(line, "%3d %8llu", of->view->ordinal, (unsigned long long)of->row->row.serial);
    for (unsigned pair = 0; pair < keys(); pair++)
        live_add(line, "  %-*s", widths[pair], value_of(of, pair));
}

static const char *nothing(void)
{
    return "no connections to show (there are none, or ConnectionStatus is Off)";
}

const live_pane_t live_connections = {"connections", order_name, make, head, row, nothing};
