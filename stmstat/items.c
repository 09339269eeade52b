/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A scan as a flat list of named values: all.requests, vp.0.requests,
 * vp.0.listener.ADDRESS.threads, vp.0.thread.3.busy. The list view, CSV and the live view print it.
 */
#include <fnmatch.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "stmstat/stmstat.h"

bool items_wanted(const char *name)
{
    bool any = false, matched = false;

    for (int i = 0; i < settings.filter_count; i++) {
        const char *glob = settings.filters[i];

        if (*glob == '!') {
            if (fnmatch(glob + 1, name, 0) == 0)
                return false;
        } else {
            any = true;
            matched |= fnmatch(glob, name, 0) == 0;
        }
    }
    return matched || !any;
}

static void add(stmstat_items_t *items, const char *name, const stm_score_field_t *field,
                uint64_t value)
{
    stmstat_item_t *item;

    if (!items_wanted(name))
        return;
    if (items->count == items->room) {
        size_t room = items->room ? items->room * 2 : 256;

        item = realloc(items->item, sizeof(*item) * room);
        if (!item)
            return;
        items->item = item;
        items->room = room;
    }
    item = &items->item[items->count++];
    *item = (stmstat_item_t){.field = field, .value = value};
    snprintf(item->name, sizeof(item->name), "%s", name);
}

/* How a histogram's parts are printed: counts, and a sum of seconds. */
static const stm_score_field_t count_field = {
    .type = STM_SCORE_TYPE_counter, .level = STM_SCORE_LEVEL_debug, .brief = "Histogram"};
static const stm_score_field_t sum_field = {
    .type = STM_SCORE_TYPE_counter, .unit = STM_SCORE_UNIT_seconds, .brief = "Histogram's sum"};

static void add_histogram(stmstat_items_t *items, const char *name, const uint64_t *words)
{
    char part[160];

    snprintf(part, sizeof(part), "%s.sum", name);
    add(items, part, &sum_field, words[STM_SCORE_BUCKETS]);
    for (int i = 0; i < STM_SCORE_BUCKETS; i++) {
        uint64_t bound = stm_score_bucket_bound(i);

        if (bound)
            snprintf(part, sizeof(part), "%s.under_%" PRIu64 "_us", name, bound);
        else
            snprintf(part, sizeof(part), "%s.beyond", name);
        add(items, part, &count_field, words[i]);
    }
}

static void add_group(stmstat_items_t *items, const char *prefix, stm_score_group_e group,
                      const void *values, stm_score_level_e level)
{
    for (int i = 0; i < stm_score_field_count; i++) {
        const stm_score_field_t *field = &stm_score_fields[i];
        char name[160];

        if (field->group != group || field->level > level)
            continue;
        snprintf(name, sizeof(name), "%s.%s", prefix, field->name);
        if (field->type == STM_SCORE_TYPE_histogram)
            add_histogram(items, name, stm_score_at(field, values));
        else
            add(items, name, field, *stm_score_at(field, values));
    }
}

static void add_sum(stmstat_items_t *items, const stmstat_scan_t *scan, stm_score_level_e level)
{
    stm_score_vp_t sum;

    stm_view_sum(&sum, scan->views, scan->count);
    for (int i = 0; i < stm_score_field_count; i++) {
        const stm_score_field_t *field = &stm_score_fields[i];
        char name[160];

        if (field->group != STM_SCORE_OF_VP || !stm_score_adds_up(field) || field->level > level)
            continue;
        snprintf(name, sizeof(name), "all.%s", field->name);
        if (field->type == STM_SCORE_TYPE_histogram)
            add_histogram(items, name, stm_score_at(field, &sum));
        else
            add(items, name, field, *stm_score_at(field, &sum));
    }
}

static void add_view(stmstat_items_t *items, const stm_view_t *view, stm_score_level_e level,
                     bool threads)
{
    static const stm_score_field_t prior = {.type = STM_SCORE_TYPE_counter,
                                            .brief = "Connections served, prior incarnations"},
                                   now = {.type = STM_SCORE_TYPE_counter,
                                          .brief = "Connections served, this incarnation"};
    char prefix[128], name[160];

    snprintf(prefix, sizeof(prefix), "vp.%d", view->ordinal);
    add_group(items, prefix, STM_SCORE_OF_VP, &view->total, level);
    snprintf(name, sizeof(name), "%s.connections_prior", prefix);
    add(items, name, &prior, view->prior.connections);
    snprintf(name, sizeof(name), "%s.connections_this", prefix);
    add(items, name, &now, view->current.connections);
    for (unsigned i = 0; i < view->listener_count; i++) {
        snprintf(prefix, sizeof(prefix), "vp.%d.listener.%s", view->ordinal,
                 view->listeners[i].address);
        add_group(items, prefix, STM_SCORE_OF_LISTENER, &view->listeners[i], level);
    }
    for (unsigned i = 0; threads && i < view->thread_count; i++) {
        snprintf(prefix, sizeof(prefix), "vp.%d.thread.%u", view->ordinal, i);
        add_group(items, prefix, STM_SCORE_OF_THREAD, &view->threads[i], level);
    }
}

void items_make(stmstat_items_t *items, const stmstat_scan_t *scan, stm_score_level_e level,
                bool threads)
{
    memset(items, 0, sizeof(*items));
    add_sum(items, scan, level);
    for (int i = 0; i < scan->count; i++) {
        if (!*scan->views[i].problem)
            add_view(items, &scan->views[i], level, threads);
    }
}

void items_free(stmstat_items_t *items)
{
    free(items->item);
    free(items->slot);
    memset(items, 0, sizeof(*items));
}

/* --- their earlier values --- */

static size_t hash(const char *name)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 0x100000001b3u; /* FNV-1a */
    return (size_t)(hash ^ hash >> 32);
}

static void make_table(stmstat_items_t *items)
{
    items->slots = 16;
    while (items->slots < items->count * 2)
        items->slots *= 2;
    items->slot = calloc(items->slots, sizeof(*items->slot));
    for (size_t i = 0; items->slot && i < items->count; i++) {
        size_t at = hash(items->item[i].name) & (items->slots - 1);

        while (items->slot[at])
            at = (at + 1) & (items->slots - 1);
        items->slot[at] = i + 1;
    }
}

static const stmstat_item_t *find(stmstat_items_t *items, const char *name)
{
    if (!items->slot)
        make_table(items);
    if (!items->slot)
        return NULL;
    for (size_t at = hash(name) & (items->slots - 1); items->slot[at];
         at = (at + 1) & (items->slots - 1)) {
        if (strcmp(items->item[items->slot[at] - 1].name, name) == 0)
            return &items->item[items->slot[at] - 1];
    }
    return NULL;
}

/* The mean of everything seen so far, until that covers more than the window; then an exponentially
 * weighted mean. */
static void follow(stmstat_item_t *item, const stmstat_item_t *before, double seconds)
{
    static const double windows[STMSTAT_AVERAGES] = {10, 60, 600};
    bool counter = item->field->type == STM_SCORE_TYPE_counter;

    if (counter && item->value < before->value)
        return; /* from another server */
    item->rate = counter ? (double)(item->value - before->value) / seconds : (double)item->value;
    item->followed = before->followed + seconds;
    for (int i = 0; i < STMSTAT_AVERAGES; i++) {
        double window = item->followed < windows[i] ? item->followed : windows[i];
        double weight = seconds < window ? seconds / window : 1;

        item->average[i] = before->average[i] + (item->rate - before->average[i]) * weight;
    }
}

void items_follow(stmstat_items_t *items, stmstat_items_t *before, double seconds)
{
    for (size_t i = 0; seconds > 0 && i < items->count; i++) {
        const stmstat_item_t *was = find(before, items->item[i].name);

        if (was)
            follow(&items->item[i], was, seconds);
    }
}
