/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables in small pools: like APR's, but without their 256-byte index, and with room for as many
 * entries as tables created at the same place in the code have recently had. Called through the
 * replacements of calls.def; a table that APR created is passed on to APR's function.
 */
#include <string.h>

#include "aprmem/table_int.h"

enum {
    KINDS = 256, /* of makers */
    WINDOW = 32, /* tables of a kind after which a new maximum is determined */
    MOST = 32,   /* maximum initial room, entries */
    STEP = 4,    /* minimum growth, entries */
};

enum { MOST_BESIDE = 128 }; /* entries in the same piece as their table */

/* --- how large tables become --- */

static struct kind {
    unsigned char usual; /* maximum number of entries in this window and the one before */
    unsigned char most;  /* in this window */
    unsigned char left;  /* tables until the next window */
} kinds[KINDS];

static unsigned char kind_of(const void *maker)
{
    return (unsigned char)((uintptr_t)maker ^ (uintptr_t)maker >> 8);
}

static inline int usual_room(struct kind *kind)
{
    if (--kind->left == 0)
        *kind = (struct kind){.usual = kind->most, .left = WINDOW};
    return kind->usual;
}

static inline void learn(const table_t *table)
{
    struct kind *kind = &kinds[table->kind];

    if (table->list.nelts <= kind->most || kind->most == MOST)
        return;
    kind->most = (unsigned char)(table->list.nelts < MOST ? table->list.nelts : MOST);
    if (kind->usual < kind->most)
        kind->usual = kind->most;
}

/* --- memory --- */

static inline bool fits(const aprmem_room_t *room, size_t size)
{
    return APRMEM_LIKELY(size <= aprmem__left(*room) && aprmem__ours(room->at));
}

static inline void *take(aprmem_room_t *room, size_t size)
{
    void *memory = room->at;

    room->at += size;
    return memory;
}

static __attribute__((noinline)) void *take_piece(aprmem_pool_t *pool, size_t size)
{
    aprmem_room_t room;
    void *memory;

    if (fits(&pool->second, size))
        return take(&pool->second, size);
    if (!aprmem__piece(pool, size, &room) || !aprmem__ours(room.at))
        return aprmem__out_of_memory(pool);
    memory = take(&room, size);
    aprmem__keep_room(pool, room);
    return memory;
}

/* A table is recognized by its address: it is never in a piece from malloc(). */
static inline void *in_range(aprmem_pool_t *pool, size_t size)
{
    return fits(&pool->room, size) ? take(&pool->room, size) : take_piece(pool, size);
}

static __attribute__((noinline)) bool grow(table_t *table, int more)
{
    apr_array_header_t *list = &table->list;
    int least = list->nelts + more, room = list->nalloc + list->nalloc / 2;
    char *memory;

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

static inline bool reserve(table_t *table, int more)
{
    return APRMEM_LIKELY(more <= table->list.nalloc - table->list.nelts) || grow(table, more);
}

/* The kind predicts better than the caller how much room it needs. Many entries are kept elsewhere:
 * no chunk is that large. */
static inline apr_table_t *make(apr_pool_t *pool, int least, const void *maker)
{
    unsigned char kind = kind_of(maker);
    int usual = usual_room(&kinds[kind]), room = least > usual ? least : usual;
    int beside = APRMEM_LIKELY(room <= MOST_BESIDE) ? room : 0;
    table_t *table =
        in_range(aprmem__pool(pool), sizeof(*table) + (size_t)beside * sizeof(entry_t));

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

static inline void push(table_t *table, const char *key, uint32_t checksum, const char *value)
{
    if (!reserve(table, 1))
        return;
    *end(table) = (entry_t){(char *)(uintptr_t)key, (char *)(uintptr_t)value, checksum};
    table->list.nelts++;
    table->present |= initial_of(key);
    learn(table);
}

static void push_copies(table_t *table, const char *key, uint32_t checksum, const char *value)
{
    push(table, apr_pstrdup(table->list.pool, key), checksum, apr_pstrdup(table->list.pool, value));
}

/* At or after an entry; NULL: none. */
static inline entry_t *find_from(const table_t *table, entry_t *entry, const char *key,
                                 uint32_t checksum)
{
    for (const entry_t *last = end(table); entry < last; entry++)
        if (is(entry, key, checksum))
            return entry;
    return NULL;
}

static inline bool may_have(const table_t *table, const char *key)
{
    return (table->present & initial_of(key)) != 0;
}

static inline entry_t *find(const table_t *table, const char *key, uint32_t checksum)
{
    return may_have(table, key) ? find_from(table, entries(table), key, checksum) : NULL;
}

/* Removes all entries of a key at or after an entry. */
static void remove_from(table_t *table, entry_t *entry, const char *key, uint32_t checksum)
{
    const entry_t *last = end(table);
    entry_t *kept = find_from(table, entry, key, checksum);

    if (!kept)
        return;
    for (entry = kept + 1; entry < last; entry++)
        if (!is(entry, key, checksum))
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

    if (!table)
        return aprmem__real.apr_table_get(handle, key);
    if (!key || !may_have(table, key))
        return NULL;
    found = find_from(table, entries(table), key, checksum_of(key));
    return found ? found->val : NULL;
}

/* The first entry of the key gets the value; the others are removed. */
void aprmem__apr_table_set(apr_table_t *handle, const char *key, const char *value)
{
    table_t *table = own(handle);
    uint32_t checksum;
    entry_t *found;

    if (!table) {
        aprmem__real.apr_table_set(handle, key, value);
        return;
    }
    checksum = checksum_of(key);
    found = find(table, key, checksum);
    if (!found) {
        push_copies(table, key, checksum, value);
        return;
    }
    found->val = apr_pstrdup(table->list.pool, value);
    remove_from(table, found + 1, key, checksum);
}

void aprmem__apr_table_setn(apr_table_t *handle, const char *key, const char *value)
{
    table_t *table = own(handle);
    uint32_t checksum;
    entry_t *found;

    if (!table) {
        aprmem__real.apr_table_setn(handle, key, value);
        return;
    }
    checksum = checksum_of(key);
    found = find(table, key, checksum);
    if (!found) {
        push(table, key, checksum, value);
        return;
    }
    found->val = (char *)(uintptr_t)value;
    remove_from(table, found + 1, key, checksum);
}

void aprmem__apr_table_unset(apr_table_t *handle, const char *key)
{
    table_t *table = own(handle);

    if (!table)
        aprmem__real.apr_table_unset(handle, key);
    else if (may_have(table, key))
        remove_from(table, entries(table), key, checksum_of(key));
}

/* The first entry of the key gets a longer value. */
static bool merge(table_t *table, const char *key, uint32_t checksum, const char *value)
{
    entry_t *found = find(table, key, checksum);

    if (found)
        found->val = apr_pstrcat(table->list.pool, found->val, ", ", value, NULL);
    return found;
}

void aprmem__apr_table_merge(apr_table_t *handle, const char *key, const char *value)
{
    table_t *table = own(handle);

    if (!table)
        aprmem__real.apr_table_merge(handle, key, value);
    else if (!merge(table, key, checksum_of(key), value))
        push_copies(table, key, checksum_of(key), value);
}

void aprmem__apr_table_mergen(apr_table_t *handle, const char *key, const char *value)
{
    table_t *table = own(handle);

    if (!table)
        aprmem__real.apr_table_mergen(handle, key, value);
    else if (!merge(table, key, checksum_of(key), value))
        push(table, key, checksum_of(key), value);
}

void aprmem__apr_table_add(apr_table_t *handle, const char *key, const char *value)
{
    table_t *table = own(handle);

    if (!table)
        aprmem__real.apr_table_add(handle, key, value);
    else
        push_copies(table, key, checksum_of(key), value);
}

void aprmem__apr_table_addn(apr_table_t *handle, const char *key, const char *value)
{
    table_t *table = own(handle);

    if (!table)
        aprmem__real.apr_table_addn(handle, key, value);
    else
        push(table, key, checksum_of(key), value);
}
