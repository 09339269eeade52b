/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables in small pools: as APR's, without the index of 256 bytes that each of those has, and with
 * room for as many entries as tables made in the same place have had of late. Called through the
 * replacements of calls.def; a table that APR made goes to APR's function.
 */
#include <string.h>

#include "table_int.h"

#define KINDS  256 /* of makers */
#define WINDOW 32  /* tables of a kind after which the largest is looked for anew */
#define MOST   32  /* entries that there is room for at the start, at most */
#define STEP   4   /* least entries of growth */

#define MOST_BESIDE 128 /* entries in one piece with their table */

/* --- how large tables become --- */

static struct kind {
    unsigned char usual, most; /* entries: at most, before this window and in it */
    unsigned char made;        /* in this window */
} kinds[KINDS];

static unsigned char kind_of(const void *maker)
{
    return (unsigned char)((uintptr_t)maker ^ (uintptr_t)maker >> 8);
}

static int usual_room(struct kind *kind)
{
    int room = kind->usual > kind->most ? kind->usual : kind->most;

    if (++kind->made == WINDOW)
        *kind = (struct kind){.usual = kind->most};
    return room;
}

static void learn(const table_t *table)
{
    struct kind *kind = &kinds[table->kind];

    if (table->list.nelts > kind->most)
        kind->most = (unsigned char)(table->list.nelts < MOST ? table->list.nelts : MOST);
}

/* --- memory --- */

/* A table is known by its address: not of a piece that malloc() gave. */
static void *in_range(apr_pool_t *handle, size_t size)
{
    aprmem_pool_t *pool = aprmem__pool(handle);
    void *memory = aprmem__apr_palloc(handle, size);
    aprmem_room_t room;

    if (!memory || APRMEM_LIKELY(aprmem__ours(memory)))
        return memory;
    if (!aprmem__piece(pool, size, &room) || !aprmem__ours(room.at)) {
        if (pool->abort_fn)
            pool->abort_fn(APR_ENOMEM);
        return NULL;
    }
    memory = room.at;
    room.at += aprmem__aligned(size);
    aprmem__keep_room(pool, room);
    return memory;
}

static bool reserve(table_t *table, int more)
{
    apr_array_header_t *list = &table->list;
    int least = list->nelts + more, room = list->nalloc + list->nalloc / 2;
    char *memory;

    if (least <= list->nalloc)
        return true;
    if (room < list->nalloc + STEP)
        room = list->nalloc + STEP;
    if (room < least)
        room = least;
    memory = aprmem__apr_palloc(list->pool, (size_t)room * sizeof(entry_t));
    if (!memory)
        return false;
    memcpy(memory, list->elts, (size_t)list->nelts * sizeof(entry_t));
    list->elts = memory;
    list->nalloc = room;
    return true;
}

/* The kind says better than the caller how much room it needs. Many entries lie elsewhere: a chunk
 * is not as large. */
static apr_table_t *make(apr_pool_t *pool, int least, const void *maker)
{
    unsigned char kind = kind_of(maker);
    int usual = usual_room(&kinds[kind]), room = least > usual ? least : usual;
    int beside = room <= MOST_BESIDE ? room : 0;
    table_t *table = in_range(pool, sizeof *table + (size_t)beside * sizeof(entry_t));

    if (!table)
        return NULL;
    *table = (table_t){.list = {.pool = pool,
                                .elt_size = sizeof(entry_t),
                                .nalloc = beside,
                                .elts = (char *)(table + 1)},
                       .kind = kind};
    (void)reserve(table, room);
    return handle_of(table);
}

apr_table_t *aprmem__table_make(apr_pool_t *pool, int least, const void *maker)
{
    return aprmem__ours(pool) ? make(pool, least, maker) : aprmem__real.apr_table_make(pool, least);
}

/* --- entries --- */

static void push(table_t *table, const sought_t *what, char *key, char *value)
{
    if (!reserve(table, 1))
        return;
    *end(table) = (entry_t){key, value, what->checksum};
    table->list.nelts++;
    table->present |= what->initial;
    learn(table);
}

static void push_copies(table_t *table, const sought_t *what, const char *value)
{
    push(table, what, apr_pstrdup(table->list.pool, what->key),
         apr_pstrdup(table->list.pool, value));
}

/* At or after an entry; NULL: none. */
static entry_t *find_from(const table_t *table, entry_t *entry, const sought_t *what)
{
    for (const entry_t *last = end(table); entry < last; entry++)
        if (is(entry, what))
            return entry;
    return NULL;
}

static entry_t *find(const table_t *table, const sought_t *what)
{
    return table->present & what->initial ? find_from(table, entries(table), what) : NULL;
}

/* Removes all of a key at or after an entry. */
static void remove_from(table_t *table, entry_t *entry, const sought_t *what)
{
    const entry_t *last = end(table);
    entry_t *kept = find_from(table, entry, what);

    if (!kept)
        return;
    for (entry = kept + 1; entry < last; entry++)
        if (!is(entry, what))
            *kept++ = *entry;
    table->list.nelts = (int)(kept - entries(table));
}

void aprmem__table_append(apr_table_t *to, const apr_table_t *from)
{
    const apr_array_header_t *list = list_of(from);
    table_t *table = own(to);
    int count = list->nelts;

    if (table && !reserve(table, count))
        return;
    for (int i = 0; i < count; i++) { /* to and from may be the same */
        const entry_t *entry = (const entry_t *)(const void *)list->elts + i;

        if (!table) {
            if (entry->key)
                aprmem__real.apr_table_addn(to, entry->key, entry->val);
            continue;
        }
        *end(table) = *entry;
        table->list.nelts++;
        if (entry->key)
            table->present |= initial_of(entry->key);
    }
    if (table)
        learn(table);
}

/* --- the replacements --- */

apr_table_t *aprmem__apr_table_make(apr_pool_t *pool, int count)
{
    return aprmem__ours(pool) ? make(pool, 0, __builtin_return_address(0))
                              : aprmem__real.apr_table_make(pool, count);
}

void aprmem__apr_table_clear(apr_table_t *handle)
{
    table_t *table = own(handle);

    if (!table) {
        aprmem__real.apr_table_clear(handle);
        return;
    }
    table->list.nelts = 0;
    table->present = 0;
}

const char *aprmem__apr_table_get(const apr_table_t *handle, const char *key)
{
    const table_t *table = own(handle);
    const entry_t *found;
    sought_t what;

    if (!table)
        return aprmem__real.apr_table_get(handle, key);
    if (!key || !(table->present & initial_of(key)))
        return NULL;
    what = sought(key);
    found = find(table, &what);
    return found ? found->val : NULL;
}

/* The first entry of the key has the value; the others go. */
static bool replace(table_t *table, const sought_t *what, const char *value, bool copy)
{
    entry_t *found = find(table, what);

    if (!found)
        return false;
    found->val = copy ? apr_pstrdup(table->list.pool, value) : (char *)(uintptr_t)value;
    remove_from(table, found + 1, what);
    return true;
}

void aprmem__apr_table_set(apr_table_t *handle, const char *key, const char *value)
{
    table_t *table = own(handle);
    sought_t what;

    if (!table) {
        aprmem__real.apr_table_set(handle, key, value);
        return;
    }
    what = sought(key);
    if (!replace(table, &what, value, true))
        push_copies(table, &what, value);
}

void aprmem__apr_table_setn(apr_table_t *handle, const char *key, const char *value)
{
    table_t *table = own(handle);
    sought_t what;

    if (!table) {
        aprmem__real.apr_table_setn(handle, key, value);
        return;
    }
    what = sought(key);
    if (!replace(table, &what, value, false))
        push(table, &what, (char *)(uintptr_t)key, (char *)(uintptr_t)value);
}

void aprmem__apr_table_unset(apr_table_t *handle, const char *key)
{
    table_t *table = own(handle);
    sought_t what;

    if (!table) {
        aprmem__real.apr_table_unset(handle, key);
        return;
    }
    what = sought(key);
    if (table->present & what.initial)
        remove_from(table, entries(table), &what);
}

/* The first entry of the key gets a longer value. */
static bool merge(table_t *table, const sought_t *what, const char *value)
{
    entry_t *found = find(table, what);

    if (found)
        found->val = apr_pstrcat(table->list.pool, found->val, ", ", value, NULL);
    return found != NULL;
}

void aprmem__apr_table_merge(apr_table_t *handle, const char *key, const char *value)
{
    table_t *table = own(handle);
    sought_t what;

    if (!table) {
        aprmem__real.apr_table_merge(handle, key, value);
        return;
    }
    what = sought(key);
    if (!merge(table, &what, value))
        push_copies(table, &what, value);
}

void aprmem__apr_table_mergen(apr_table_t *handle, const char *key, const char *value)
{
    table_t *table = own(handle);
    sought_t what;

    if (!table) {
        aprmem__real.apr_table_mergen(handle, key, value);
        return;
    }
    what = sought(key);
    if (!merge(table, &what, value))
        push(table, &what, (char *)(uintptr_t)key, (char *)(uintptr_t)value);
}

void aprmem__apr_table_add(apr_table_t *handle, const char *key, const char *value)
{
    table_t *table = own(handle);
    sought_t what;

    if (!table) {
        aprmem__real.apr_table_add(handle, key, value);
        return;
    }
    what = sought(key);
    push_copies(table, &what, value);
}

void aprmem__apr_table_addn(apr_table_t *handle, const char *key, const char *value)
{
    table_t *table = own(handle);
    sought_t what;

    if (!table) {
        aprmem__real.apr_table_addn(handle, key, value);
        return;
    }
    what = sought(key);
    push(table, &what, (char *)(uintptr_t)key, (char *)(uintptr_t)value);
}
