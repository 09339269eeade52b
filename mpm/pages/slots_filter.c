/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leaves the dots out of mod_status's page. mod_status prints a character for each slot, ahead of
 * its table of slots in use and of STM's section: with many VPs and a large MaxThreads, thousands
 * of them are dots, that is, open slots. Their number is given instead. ?auto is left alone, since
 * its readers count the dots.
 */
#include <string.h>

#include <http_request.h>
#include <util_filter.h>

#include "mpm/config/config.h"
#include "mpm/pages/pages.h"

enum {
    FEW = 512, /* slots: eight lines are bearable, and show which slots belong to which VP */
    LINE = 64, /* characters, as mod_status prints them */
};

static ap_filter_rec_t *filter;

/* Where we are: `matched` characters into the mark that precedes the slots; then among the slots;
 * then past them, with nothing left to do. */
typedef struct {
    enum { BEFORE, AMONG, PAST } place;
    size_t matched;
    int open, column;
    apr_bucket_brigade *out;
} slots_t;

static void put(slots_t *slots, char c)
{
    apr_brigade_putc(slots->out, NULL, NULL, c);
}

static void seek_begin(slots_t *slots, char c)
{
    static const char mark[] = "<pre>";

    put(slots, c);
    slots->matched = c == mark[slots->matched] ? slots->matched + 1 : c == mark[0];
    if (!mark[slots->matched])
        slots->place = AMONG;
}

static void take_slot(slots_t *slots, char c)
{
    if (c == '<') { /* of </pre> */
        if (slots->open)
            apr_brigade_printf(slots->out, NULL, NULL, "\nand %d open slots", slots->open);
        put(slots, c);
        slots->place = PAST;
    } else if (c == '.') {
        slots->open++;
    } else if (c != '\n') {
        if (slots->column && slots->column % LINE == 0)
            put(slots, '\n');
        slots->column++;
        put(slots, c);
    }
}

/* Replaces a bucket with what is to be shown of it. */
static apr_status_t rewrite(slots_t *slots, apr_bucket *bucket)
{
    apr_status_t rv;
    const char *data;
    apr_size_t size;

    rv = apr_bucket_read(bucket, &data, &size, APR_BLOCK_READ);
    if (rv != APR_SUCCESS)
        return rv;
    for (apr_size_t i = 0; i < size; i++) {
        if (slots->place == BEFORE)
            seek_begin(slots, data[i]);
        else if (slots->place == AMONG)
            take_slot(slots, data[i]);
        else
            return apr_brigade_write(slots->out, NULL, NULL, data + i, size - i);
    }
    return APR_SUCCESS;
}

static apr_status_t slots_filter(ap_filter_t *f, apr_bucket_brigade *brigade)
{
    slots_t *slots = f->ctx;
    apr_status_t rv;

    while (slots->place != PAST && !APR_BRIGADE_EMPTY(brigade)) {
        apr_bucket *bucket = APR_BRIGADE_FIRST(brigade);

        if (APR_BUCKET_IS_METADATA(bucket)) {
            APR_BUCKET_REMOVE(bucket);
            APR_BRIGADE_INSERT_TAIL(slots->out, bucket);
            continue;
        }
        rv = rewrite(slots, bucket);
        if (rv != APR_SUCCESS)
            return rv;
        apr_bucket_delete(bucket);
    }
    APR_BRIGADE_CONCAT(slots->out, brigade);
    if (slots->place == PAST)
        ap_remove_output_filter(f);
    rv = ap_pass_brigade(f->next, slots->out);
    apr_brigade_cleanup(slots->out);
    return rv;
}

static void insert(request_rec *r)
{
    slots_t *slots;

    if (!r->handler || strcmp(r->handler, "server-status") != 0 ||
        (r->args && strstr(r->args, "auto")) || /* as mod_status looks for it */
        stm_config.num_vps * stm_config_limits().slots <= FEW)
        return;
    slots = apr_pcalloc(r->pool, sizeof(*slots));
    slots->out = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    ap_add_output_filter_handle(filter, slots, r, r->connection);
}

void stm_slots_filter_register_hooks(apr_pool_t *pool)
{
    (void)pool;
    filter = ap_register_output_filter("STM_SLOTS", slots_filter, NULL, AP_FTYPE_RESOURCE);
    ap_hook_insert_filter(insert, NULL, NULL, APR_HOOK_MIDDLE);
}
