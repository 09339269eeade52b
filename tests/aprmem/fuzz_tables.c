/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables in small pools next to APR's own, with any keys: the same calls on both leave the same
 * entries in the same order, and return the same. On the virtual processor and on kernel threads at
 * the same time.
 */
#include <string.h>

#include "tests/aprmem/small.h"

enum { PAIRS = 3, KEYS = 8, MOST = 200, LONGEST = 12 };

typedef struct pair {
    apr_table_t *table[FUZZ_KINDS];
} pair_t;

typedef struct walk {
    unsigned left;
    size_t noted;
    const char *notes[2 * MOST];
} walk_t;

typedef struct world {
    fuzz_input_t input;
    apr_pool_t *pool[FUZZ_KINDS];
    pair_t pairs[PAIRS];
    char keys[KEYS][LONGEST + 1];
} world_t;

static void same_text(const char *a, const char *b)
{
    FUZZ_CHECK((!a) == (!b));
    FUZZ_CHECK(!a || strcmp(a, b) == 0);
}

static void compare(const pair_t *pair)
{
    const apr_array_header_t *a = apr_table_elts(pair->table[0]);
    const apr_array_header_t *b = apr_table_elts(pair->table[1]);
    const apr_table_entry_t *one = (void *)a->elts, *other = (void *)b->elts;

    FUZZ_CHECK(a->nelts == b->nelts && a->nelts <= a->nalloc && a->elt_size == b->elt_size);
    FUZZ_CHECK(apr_is_empty_table(pair->table[0]) == apr_is_empty_table(pair->table[1]));
    for (int i = 0; i < a->nelts; i++) {
        same_text(one[i].key, other[i].key);
        same_text(one[i].val, other[i].val);
        FUZZ_CHECK(one[i].key_checksum == other[i].key_checksum);
    }
}

static const char *any_key(world_t *world)
{
    return world->keys[fuzz_any(&world->input, KEYS)];
}

static pair_t *any_pair(world_t *world)
{
    return &world->pairs[fuzz_any(&world->input, PAIRS)];
}

static int entries(const pair_t *pair)
{
    return apr_table_elts(pair->table[0])->nelts;
}

typedef void (*change_t)(apr_table_t *table, const char *key, const char *value);

static void change_key(world_t *world, const pair_t *pair)
{
    static const change_t changes[] = {apr_table_set,    apr_table_setn, apr_table_merge,
                                       apr_table_mergen, apr_table_add,  apr_table_addn};
    change_t change = changes[fuzz_any(&world->input, sizeof(changes) / sizeof(*changes))];
    const char *key = any_key(world), *value = any_key(world);

    if (entries(pair) == MOST)
        return;
    for (int kind = 0; kind < FUZZ_KINDS; kind++)
        change(pair->table[kind], key, value);
}

static void ask(world_t *world, const pair_t *pair)
{
    const char *key = any_key(world);

    same_text(apr_table_get(pair->table[0], key), apr_table_get(pair->table[1], key));
    same_text(apr_table_getm(world->pool[0], pair->table[0], key),
              apr_table_getm(world->pool[1], pair->table[1], key));
}

static void unset(world_t *world, const pair_t *pair)
{
    const char *key = any_key(world);

    for (int kind = 0; kind < FUZZ_KINDS; kind++)
        apr_table_unset(pair->table[kind], key);
}

/* --- whole tables --- */

/* From two others; either may be of the other kind. */
static void new_pair(world_t *world, pair_t *pair)
{
    pair_t a = *any_pair(world), b = *any_pair(world), made;
    unsigned how = fuzz_any(&world->input, 4), size = fuzz_any(&world->input, 20);

    if (fuzz_any(&world->input, 2))
        a = (pair_t){{a.table[1], a.table[0]}};
    if (how == 3 && entries(&b) == 0)
        how = 1; /* APR's result then shares its entries with the table that it was made of */
    for (int kind = 0; kind < FUZZ_KINDS; kind++) {
        apr_pool_t *pool = world->pool[kind];

        if (how == 0)
            made.table[kind] = apr_table_make(pool, (int)size);
        else if (how == 1)
            made.table[kind] = apr_table_copy(pool, a.table[kind]);
        else if (how == 2)
            made.table[kind] = apr_table_clone(pool, a.table[kind]);
        else
            made.table[kind] = apr_table_overlay(pool, a.table[kind], b.table[kind]);
    }
    *pair = made;
}

static void overlap(world_t *world, const pair_t *pair)
{
    static const unsigned flags[] = {APR_OVERLAP_TABLES_SET, APR_OVERLAP_TABLES_MERGE,
                                     APR_OVERLAP_TABLES_ADD};
    unsigned how = flags[fuzz_any(&world->input, 3)];
    pair_t from = *any_pair(world);

    if (fuzz_any(&world->input, 2)) {
        for (int kind = 0; kind < FUZZ_KINDS; kind++)
            apr_table_compress(pair->table[kind], how);
        return;
    }
    if (entries(pair) + entries(&from) > MOST)
        return;
    for (int kind = 0; kind < FUZZ_KINDS; kind++)
        apr_table_overlap(pair->table[kind], from.table[kind], how);
}

/* --- walks --- */

static int walked(void *data, const char *key, const char *value)
{
    walk_t *walk = data;

    walk->notes[walk->noted++] = key;
    walk->notes[walk->noted++] = value;
    return walk->noted < 2 * MOST && walk->left-- > 0;
}

static void walk_both(world_t *world, const pair_t *pair)
{
    const char *first = fuzz_any(&world->input, 3) ? any_key(world) : NULL;
    const char *second = fuzz_any(&world->input, 2) ? any_key(world) : NULL;
    unsigned left = fuzz_byte(&world->input);
    walk_t walks[FUZZ_KINDS];
    int results[FUZZ_KINDS];

    for (int kind = 0; kind < FUZZ_KINDS; kind++) {
        walks[kind].left = left;
        walks[kind].noted = 0;
        results[kind] = apr_table_do(walked, &walks[kind], pair->table[kind], first, second, NULL);
    }
    FUZZ_CHECK(results[0] == results[1] && walks[0].noted == walks[1].noted);
    for (size_t i = 0; i < walks[0].noted; i++)
        same_text(walks[0].notes[i], walks[1].notes[i]);
}

/* --- the sequence --- */

static void step(world_t *world)
{
    pair_t *pair = any_pair(world);

    switch (fuzz_any(&world->input, 12)) {
    case 0:
        for (int kind = 0; kind < FUZZ_KINDS; kind++)
            apr_table_clear(pair->table[kind]);
        break;
    case 1:
        new_pair(world, pair);
        break;
    case 2:
        overlap(world, pair);
        break;
    case 3:
        unset(world, pair);
        break;
    case 4:
        walk_both(world, pair);
        break;
    default:
        change_key(world, pair);
    }
    ask(world, pair);
    compare(pair);
}

/* Keys and values are the first bytes of the input. */
static void read_keys(world_t *world)
{
    for (int i = 0; i < KEYS; i++) {
        unsigned length = fuzz_any(&world->input, LONGEST + 1);

        for (unsigned at = 0; at < length; at++)
            world->keys[i][at] = (char)fuzz_byte(&world->input);
    }
}

static void run(fuzz_input_t input)
{
    world_t *world = calloc(1, sizeof(*world));

    FUZZ_CHECK(world);
    world->input = input;
    read_keys(world);
    for (int kind = 0; kind < FUZZ_KINDS; kind++) {
        world->pool[kind] = fuzz_pool(kind, fuzz_top[kind]);
        for (int i = 0; i < PAIRS; i++)
            world->pairs[i].table[kind] = apr_table_make(world->pool[kind], i);
    }
    while (fuzz_more(&world->input))
        step(world);
    for (int kind = 0; kind < FUZZ_KINDS; kind++)
        apr_pool_destroy(world->pool[kind]);
    free(world);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input_t input = {data, data + size};
    unsigned how = fuzz_any(&input, 8);

    fuzz_run(run, input, how > 5 ? how - 4 : 0);
    return 0;
}
