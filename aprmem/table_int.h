/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of small pools: what table.c, which makes tables and does what concerns one key, and
 * table_all.c, which does what concerns all entries, share.
 */
#ifndef APRMEM_TABLE_INT_H
#define APRMEM_TABLE_INT_H

#include <strings.h>

#include "aprmem_int.h"

typedef apr_table_entry_t entry_t;

typedef struct table {
    apr_array_header_t list; /* first: it is what apr_table_elts() returns */
    uint32_t present;        /* a bit for each initial of its keys, and perhaps of removed ones */
    unsigned char kind;
} table_t;

/* What is looked for. */
typedef struct sought {
    const char *key;
    uint32_t initial, checksum;
} sought_t;

/* NULL: it is APR's. */
static inline table_t *own(const apr_table_t *table)
{
    return aprmem__ours(table) ? (table_t *)(uintptr_t)table : NULL;
}

static inline apr_table_t *handle_of(table_t *table)
{
    return (apr_table_t *)(void *)table;
}

/* Of tables of both kinds. */
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

/* As APR has it in an entry, for entries come from its tables too: four characters, with bit 5
 * cleared; what follows the end is 0. */
static inline uint32_t checksum_of(const char *key)
{
    uint32_t sum = 0, last = 1;

    for (int i = 0; i < 4; i++) {
        if (last != 0)
            last = (uint32_t)*key++;
        sum = sum << 8 | last;
    }
    return sum & UINT32_C(0xdfdfdfdf);
}

static inline sought_t sought(const char *key)
{
    return (sought_t){key, initial_of(key), checksum_of(key)};
}

static inline bool is(const entry_t *entry, const sought_t *what)
{
    return entry->key_checksum == what->checksum && strcasecmp(entry->key, what->key) == 0;
}

/* --- table.c --- */

#pragma GCC visibility push(hidden)

/** A table with room for `least` entries; `maker` is where it is made. APR's in a pool of APR's. */
extern apr_table_t *aprmem__table_make(apr_pool_t *pool, int least, const void *maker);
/** Adds the entries of a table to one; keys and values are not copied. Both may be of both kinds,
 * and the same. */
extern void aprmem__table_append(apr_table_t *to, const apr_table_t *from);

#pragma GCC visibility pop

#endif /* APRMEM_TABLE_INT_H */
