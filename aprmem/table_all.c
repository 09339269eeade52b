/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations on whole tables of small pools: copying, joining, compressing and iterating. Called
 * through the replacements of calls.def; what concerns only APR's tables is passed on to APR's
 * functions.
 */
#include <stdlib.h>
#include <string.h>

#include "aprmem/table_int.h"

enum { FEW = 32 }; /* number of entries sorted on the stack */

/* --- new ones --- */

apr_table_t *aprmem__apr_table_copy(apr_pool_t *pool, const apr_table_t *from)
{
    apr_table_t *table;

    if (!aprmem__ours(pool) && !own(from))
        return aprmem__real.apr_table_copy(pool, from);
    table = aprmem__table_make(pool, list_of(from)->nelts, __builtin_return_address(0));
    if (table)
        aprmem__table_append(table, from);
    return table;
}

apr_table_t *aprmem__apr_table_clone(apr_pool_t *pool, const apr_table_t *from)
{
    const apr_array_header_t *list = list_of(from);
    const entry_t *all = (const entry_t *)(const void *)list->elts;
    apr_table_t *table = aprmem__table_make(pool, list->nelts, __builtin_return_address(0));

    for (int i = 0; table && i < list->nelts; i++)
        aprmem__apr_table_add(table, all[i].key, all[i].val);
    return table;
}

apr_table_t *aprmem__apr_table_overlay(apr_pool_t *pool, const apr_table_t *over,
                                       const apr_table_t *base)
{
    apr_table_t *table;

    if (!aprmem__ours(pool) && !own(over) && !own(base))
        return aprmem__real.apr_table_overlay(pool, over, base);
    table = aprmem__table_make(pool, list_of(over)->nelts + list_of(base)->nelts,
                               __builtin_return_address(0));
    if (table) {
        aprmem__table_append(table, over);
        aprmem__table_append(table, base);
    }
    return table;
}

/* --- no key twice --- */

/* Brings equal keys together, keeping their order in the table. */
static int by_key(const void *a, const void *b)
{
    const entry_t *one = *(const entry_t *const *)a, *other = *(const entry_t *const *)b;
    int order;

    if (one->key_checksum != other->key_checksum)
        return one->key_checksum < other->key_checksum ? -1 : 1;
    order = strcasecmp(one->key, other->key);
    return order != 0 ? order : one < other ? -1 : 1;
}

static bool same_key(const entry_t *one, const entry_t *other)
{
    return is(one, other->key, other->key_checksum);
}

/* All values, joined by ", ". */
static char *joined(apr_pool_t *pool, entry_t **of, int count)
{
    size_t size = 0;
    char *text, *at;

    for (int i = 0; i < count; i++)
        size += strlen(of[i]->val) + 2;
    text = at = aprmem__apr_palloc(pool, size);
    for (int i = 0; text && i < count; i++) {
        at = stpcpy(at, of[i]->val);
        if (i < count - 1)
            at = stpcpy(at, ", ");
    }
    return text;
}

/* Merges the entries of one key into the first; the others lose their keys. */
static void unite(table_t *table, entry_t **of, int count, unsigned flags)
{
    of[0]->val = flags == APR_OVERLAP_TABLES_MERGE ? joined(table->list.pool, of, count)
                                                   : of[count - 1]->val;
    for (int i = 1; i < count; i++)
        of[i]->key = NULL;
}

static void close_gaps(table_t *table)
{
    entry_t *kept = entries(table);

    for (const entry_t *entry = kept, *last = end(table); entry < last; entry++)
        if (entry->key)
            *kept++ = *entry;
    table->list.nelts = (int)(kept - entries(table));
}

static void compress(table_t *table, unsigned flags)
{
    entry_t *few[FEW], **sorted = few;
    int count = table->list.nelts, next;
    bool united = false;

    if (count > FEW)
        sorted = aprmem__apr_palloc(table->list.pool, (size_t)count * sizeof(*sorted));
    if (!sorted)
        return;
    for (int i = 0; i < count; i++)
        sorted[i] = entries(table) + i;
    qsort(sorted, (size_t)count, sizeof(*sorted), by_key);
    for (int first = 0; first < count; first = next) {
        for (next = first + 1; next < count && same_key(sorted[first], sorted[next]); next++)
            ;
        if (next - first > 1) {
            unite(table, sorted + first, next - first, flags);
            united = true;
        }
    }
    if (united)
        close_gaps(table);
}

void aprmem__apr_table_compress(apr_table_t *handle, unsigned flags)
{
    table_t *table = own(handle);

    if (!table)
        aprmem__real.apr_table_compress(handle, flags);
    else if (flags != APR_OVERLAP_TABLES_ADD && table->list.nelts > 1)
        compress(table, flags);
}

void aprmem__apr_table_overlap(apr_table_t *to, const apr_table_t *from, unsigned flags)
{
    if (!own(to) && !own(from)) {
        aprmem__real.apr_table_overlap(to, from, flags);
        return;
    }
    aprmem__table_append(to, from);
    aprmem__apr_table_compress(to, flags);
}

/* --- walks --- */

/* The function may add entries. */
static int walk(apr_table_do_callback_fn_t *function, void *data, const table_t *table,
                const char *key)
{
    uint32_t checksum = key ? checksum_of(key) : 0;
    int go_on = 1;

    if (key && !(table->present & initial_of(key)))
        return go_on;
    for (int i = 0; go_on && i < table->list.nelts; i++) {
        const entry_t *entry = entries(table) + i;

        if (entry->key && (!key || is(entry, key, checksum)))
            go_on = function(data, entry->key, entry->val);
    }
    return go_on;
}

/* 0 ends the iteration for one key, but not for the keys after it. */
int aprmem__apr_table_vdo(apr_table_do_callback_fn_t *function, void *data,
                          const apr_table_t *handle, va_list keys)
{
    const table_t *table = own(handle);
    const char *key;
    int all = 1;

    if (!table)
        return aprmem__real.apr_table_vdo(function, data, handle, keys);
    key = va_arg(keys, const char *);
    do {
        if (walk(function, data, table, key) == 0)
            all = 0;
    } while (key && (key = va_arg(keys, const char *)));
    return all;
}

int aprmem__apr_table_do(apr_table_do_callback_fn_t *function, void *data, const apr_table_t *table,
                         ...)
{
    va_list keys;
    int all;

    va_start(keys, table);
    all = aprmem__apr_table_vdo(function, data, table, keys);
    va_end(keys);
    return all;
}

typedef struct values {
    apr_pool_t *pool;
    const char *first;
    apr_array_header_t *all; /* NULL: there is only one */
} values_t;

static int add_value(void *data, const char *key, const char *value)
{
    values_t *values = data;

    (void)key;
    if (!values->first) {
        values->first = value;
        return 1;
    }
    if (!values->all) {
        values->all = apr_array_make(values->pool, 4, sizeof(const char *));
        *(const char **)apr_array_push(values->all) = values->first;
    }
    *(const char **)apr_array_push(values->all) = value;
    return 1;
}

const char *aprmem__apr_table_getm(apr_pool_t *pool, const apr_table_t *handle, const char *key)
{
    values_t values = {.pool = pool};
    const table_t *table = own(handle);

    if (!table)
        return aprmem__real.apr_table_getm(pool, handle, key);
    (void)walk(add_value, &values, table, key);
    return values.all ? apr_array_pstrcat(pool, values.all, ',') : values.first;
}
