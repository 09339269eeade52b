/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The live view's list of counters: each one's value, how fast it grows, and averages of that.
 */
#include <stdlib.h>
#include <string.h>

#include "stmstat/live.h"

enum { AS_LISTED, BY_NAME, BY_VALUE, BY_RATE, ORDERS };
enum { VALUE = 12, RATE = 9, SHORTEST_NAME = 20 };

static const stmstat_item_t **lines;
static int name_width, sorting, direction;

static const char *order_name(int order)
{
    static const char *const names[ORDERS] = {"table", "name", "value", "rate"};

    return order < ORDERS ? names[order] : NULL;
}

/* A counter's growth. A gauge's present state is its value. */
static double rate_of(const stmstat_item_t *item)
{
    return item->followed > 0 && item->field->type == STM_SCORE_TYPE_counter ? item->rate : -1;
}

/* Fields that identify a process, and moments, are not amounts: they come last. */
static double amount_of(const stmstat_item_t *item)
{
    return stm_score_adds_up(item->field) ? (double)item->value : -1;
}

static int compare(const void *left, const void *right)
{
    const stmstat_item_t *a = *(const stmstat_item_t *const *)left;
    const stmstat_item_t *b = *(const stmstat_item_t *const *)right;
    int result = 0;

    if (sorting == BY_NAME)
        result = strcmp(a->name, b->name);
    else if (sorting == BY_VALUE && amount_of(a) != amount_of(b))
        result = amount_of(a) > amount_of(b) ? -1 : 1;
    else if (sorting == BY_RATE && rate_of(a) != rate_of(b))
        result = rate_of(a) > rate_of(b) ? -1 : 1;
    if (result == 0)
        result = a < b ? -1 : 1; /* as listed */
    return result * direction;
}

static int make(int order, bool backwards)
{
    size_t longest = 0, room;

    free(lines);
    lines = calloc(live.items.count + 1, sizeof(*lines));
    if (!lines)
        return 0;
    for (size_t i = 0; i < live.items.count; i++) {
        size_t length = strlen(live.items.item[i].name);

        lines[i] = &live.items.item[i];
        longest = length > longest ? length : longest;
    }
    sorting = order;
    direction = backwards ? -1 : 1;
    qsort(lines, live.items.count, sizeof(*lines), compare);
    room =
        live.width > SHORTEST_NAME + VALUE + RATE ? (size_t)(live.width - VALUE - RATE * 2 - 3) : 0;
    if (room < SHORTEST_NAME)
        room = SHORTEST_NAME;
    name_width = (int)(longest < room ? longest : room);
    return (int)live.items.count;
}

static void head(char line[LIVE_LINE])
{
    live_add(line, "%-*s %*s %*s %*s %*s %*s  %s", name_width, "name", VALUE, "value", RATE, "now",
             RATE, "10 s", RATE, "1 min", RATE, "10 min", "meaning");
}

/* A name that is too long is cut in the middle: the VP and the counter are at its ends. */
static void add_name(char line[LIVE_LINE], const char *name)
{
    int length = (int)strlen(name), left = name_width / 3;

    if (length <= name_width)
        live_add(line, "%-*s", name_width, name);
    else
        live_add(line, "%.*s..%s", left, name, name + length - (name_width - left - 2));
}

static void add_rates(char line[LIVE_LINE], const stmstat_item_t *item)
{
    char text[STMSTAT_HUMAN];
    bool counter = item->field->type == STM_SCORE_TYPE_counter;

    if (item->followed <= 0 || (!counter && item->field->type != STM_SCORE_TYPE_gauge)) {
        live_add(line, "%*s", (RATE + 1) * (1 + STMSTAT_AVERAGES), "");
        return;
    }
    live_add(line, " %*s", RATE, counter ? human_rate(item->field, item->rate, text) : "");
    for (int i = 0; i < STMSTAT_AVERAGES; i++)
        live_add(line, " %*s", RATE, human_rate(item->field, item->average[i], text));
}

static void row(int index, char line[LIVE_LINE])
{
    const stmstat_item_t *item = lines[index];
    char value[STMSTAT_HUMAN];

    add_name(line, item->name);
    live_add(line, " %*s", VALUE, human_value(item->field, item->value, live.scan.now, value));
    add_rates(line, item);
    live_add(line, "  %s", item->field->brief);
}

static const char *nothing(void)
{
    return settings.filter_count ? "no value matches the filter (-f); stmstat -l lists the names"
                                 : "no values";
}

const live_pane_t live_counters = {"counters", order_name, make, head, row, nothing};
