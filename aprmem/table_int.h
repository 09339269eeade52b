/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of small pools: shared by table.c, which creates tables and handles single keys, and
 * table_all.c, which handles operations on all entries.
 */
#ifndef APRMEM_TABLE_INT_H
#define APRMEM_TABLE_INT_H

#include <strings.h>

#include "aprmem/aprmem_int.h"

typedef apr_table_entry_t entry_t;

typedef struct table {
    apr_array_header_t list; /* must be first: apr_table_elts() returns it */
    uint32_t present;        /* a bit for each initial of its keys, possibly also of removed ones */
    unsigned char kind;
} table_t;

/* NULL: it is APR's. */
static inline table_t *own(const apr_table_t *table)
{
    return aprmem__ours(table) ? (table_t *)(uintptr_t)table : NULL;
}

static inline apr_table_t *handle_of(table_t *table)
{
    return (apr_table_t *)(void *)table;
}

/* For tables of both kinds. */
static inline const apr_array_header_t *list_of(const apr_table_t *table)
{
    return (const apr_array_header_t *)(const void *)table;
}

static inline entry_t *entries(const table_t *table)
{
    return (entry_t *)(void *)table->list.elts;
}

static inline entry_t *end(const table_t *table)
{
    return entries(table) + table->list.nelts;
}

/* --- keys --- */

static inline uint32_t initial_of(const char *key)
{
    return UINT32_C(1) << (*key & 31);
}

/* As APR computes it for an entry, since entries also come from its tables: from the first four
 * characters, with bit 5 cleared; anything after the end is 0. */
static inline uint32_t checksum_of(const char *key)
{
    uint32_t a = (uint32_t)key[0];
    uint32_t b = a != 0 ? (uint32_t)key[1] : 0;
    uint32_t c = b != 0 ? (uint32_t)key[2] : 0;
    uint32_t d = c != 0 ? (uint32_t)key[3] : 0;

    return (a << 24 | b << 16 | c << 8 | d) & UINT32_C(0xdfdfdfdf);
}

static inline bool is(const entry_t *entry, const char *key, uint32_t checksum)
{
    return entry->key_checksum == checksum &&
           (entry->key == key || strcasecmp(entry->key, key) == 0);
}

/* --- table.c --- */

#pragma GCC visibility push(hidden)

/** A table with room for at least `least` entries; `maker` is the place in the code that creates
 * it. In a pool of APR's, a table of APR's. */
apr_table_t *aprmem__table_make(apr_pool_t *pool, int least, const void *maker);
/** Appends the entries of one table to another; keys and values are not copied. Each may be of
 * either kind, and they may be the same. */
void aprmem__table_append(apr_table_t *to, const apr_table_t *from);

#pragma GCC visibility pop

#endif /* APRMEM_TABLE_INT_H */
