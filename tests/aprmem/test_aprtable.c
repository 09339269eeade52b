/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables in small pools (aprmem/table*.c) next to APR's own: whatever is done to both, they have
 * the same entries in the same order; and they are small.
 */
#include "tests/stiol/stiol_vp.h"

#if __has_include(<apr_buckets.h>)
#include <apr_strings.h>
#include <apr_tables.h>

#include "tests/aprmem/small_pools.h"

/* --- the same things, done to both --- */

enum { PAIRS = 4, KEYS = 12 };

/* Keys that are alike in some way: same initial, same checksum, same except for case. */
static const char *const keys[KEYS] = {
    "Host",   "host",   "hosts",           "HOSTILE", "Accept", "accepT",
    "accent", "Cookie", "Accept-Encoding", "X",       "\xe4x",  "",
};
static const char *const values[] = {"", "1", "two", "a longer value, with a comma"};

typedef struct pair {
    apr_table_t *ours, *aprs;
} pair_t;

static apr_pool_t *small;
static pair_t pairs[PAIRS];
static unsigned seed = 1;

static unsigned any(unsigned below)
{
    seed = seed * 1103515245u + 12345u;
    return (seed >> 16) % below;
}

static void same_text(const char *a, const char *b)
{
    CHECK((!a) == (!b));
    CHECK(!a || strcmp(a, b) == 0);
}

static void compare(const pair_t *pair)
{
    const apr_array_header_t *a = apr_table_elts(pair->ours), *b = apr_table_elts(pair->aprs);
    const apr_table_entry_t *one = (void *)a->elts, *other = (void *)b->elts;

    CHECK(a->nelts == b->nelts && a->nelts <= a->nalloc && a->elt_size == b->elt_size);
    CHECK(apr_is_empty_table(pair->ours) == apr_is_empty_table(pair->aprs));
    for (int i = 0; i < a->nelts; i++) {
        same_text(one[i].key, other[i].key);
        same_text(one[i].val, other[i].val);
        CHECK(one[i].key_checksum == other[i].key_checksum);
    }
}

typedef void (*change_t)(apr_table_t *table, const char *key, const char *value);

static void one_key(const pair_t *pair)
{
    static const change_t changes[] = {apr_table_set,    apr_table_setn, apr_table_merge,
                                       apr_table_mergen, apr_table_add,  apr_table_addn};
    const char *key = keys[any(KEYS)];
    const char *value = values[any(sizeof(values) / sizeof(*values))];
    change_t change = changes[any(sizeof(changes) / sizeof(*changes))];

    change(pair->ours, key, value);
    change(pair->aprs, key, value);
    key = keys[any(KEYS)];
    if (any(4) == 0) {
        apr_table_unset(pair->ours, key);
        apr_table_unset(pair->aprs, key);
    }
    same_text(apr_table_get(pair->ours, key), apr_table_get(pair->aprs, key));
    same_text(apr_table_getm(small, pair->ours, key), apr_table_getm(old, pair->aprs, key));
}

/* A new pair, from two others; each table may come from one of the other kind. */
static void new_pair(pair_t *pair)
{
    pair_t a = pairs[any(PAIRS)], b = pairs[any(PAIRS)];

    if (any(2))
        a = (pair_t){a.aprs, a.ours};
    switch (any(4)) {
    case 0:
        *pair = (pair_t){apr_table_make(small, 3), apr_table_make(old, 3)};
        break;
    case 1:
        *pair = (pair_t){apr_table_copy(small, a.ours), apr_table_copy(old, a.aprs)};
        break;
    case 2:
        *pair = (pair_t){apr_table_clone(small, a.ours), apr_table_clone(old, a.aprs)};
        break;
    default:
        *pair = (pair_t){apr_table_overlay(small, a.ours, b.ours),
                         apr_table_overlay(old, a.aprs, b.aprs)};
    }
}

static void whole_tables(pair_t *pair)
{
    static const unsigned flags[] = {APR_OVERLAP_TABLES_SET, APR_OVERLAP_TABLES_MERGE,
                                     APR_OVERLAP_TABLES_ADD};
    unsigned how = flags[any(3)];
    pair_t from = pairs[any(PAIRS)];

    if (any(2) && from.ours != pair->ours)
        from = (pair_t){from.aprs, from.ours};
    switch (any(8)) {
    case 0:
        apr_table_clear(pair->ours);
        apr_table_clear(pair->aprs);
        break;
    case 1:
    case 2:
        apr_table_compress(pair->ours, how);
        apr_table_compress(pair->aprs, how);
        break;
    case 3:
    case 4:
        new_pair(pair);
        break;
    default:
        if (apr_table_elts(pair->ours)->nelts + apr_table_elts(from.ours)->nelts > 300)
            break;
        apr_table_overlap(pair->ours, from.ours, how);
        apr_table_overlap(pair->aprs, from.aprs, how);
    }
}

/* Records its arguments, and stops now and then. */
static int walked(void *data, const char *key, const char *value)
{
    unsigned *left = data;

    note(key[0]);
    note(value[0]);
    return (*left)-- > 0;
}

static int walk(const apr_table_t *table, unsigned left, const char *first, const char *second)
{
    forget_notes();
    return apr_table_do(walked, &left, table, first, second, NULL);
}

static void walks(const pair_t *pair)
{
    const char *first = any(3) ? keys[any(KEYS)] : NULL, *second = any(2) ? keys[any(KEYS)] : NULL;
    unsigned left = any(8);
    int result = walk(pair->ours, left, first, second);
    char *seen = strdup(noted());

    CHECK(walk(pair->aprs, left, first, second) == result);
    CHECK(strcmp(seen, noted()) == 0);
    free(seen);
}

static void both_have_the_same_entries(void)
{
    begin();
    small = made(NULL);
    for (int i = 0; i < PAIRS; i++)
        pairs[i] = (pair_t){apr_table_make(small, i), apr_table_make(old, i)};
    for (int round = 0; round < 20000; round++) {
        pair_t *pair = &pairs[any(PAIRS)];

        one_key(pair);
        if (any(16) == 0)
            whole_tables(pair);
        if (apr_table_elts(pair->ours)->nelts < 20)
            walks(pair);
        compare(pair);
        if (round % 500 == 499) { /* the pool would become large */
            for (int i = 0; i < PAIRS; i++)
                apr_table_clear(pairs[i].aprs);
            apr_pool_clear(small);
            for (int i = 0; i < PAIRS; i++)
                pairs[i].ours = apr_table_make(small, 0);
        }
    }
}

/* --- what only ours do --- */

static int adds_more(void *data, const char *key, const char *value)
{
    (void)key;
    apr_table_addn(data, "more", value);
    return apr_table_elts(data)->nelts < 100;
}

static void a_walk_may_add(void)
{
    apr_table_t *table;

    begin();
    table = apr_table_make(made(NULL), 1);
    apr_table_setn(table, "first", "1");
    CHECK(apr_table_do(adds_more, table, table, NULL) == 0);
    CHECK(apr_table_elts(table)->nelts == 100);
}

static apr_table_t *filled(apr_pool_t *pool, int count)
{
    apr_table_t *table = apr_table_make(pool, 50);

    for (int i = 0; i < count; i++)
        apr_table_setn(table, apr_itoa(pool, i), apr_itoa(pool, i + 1));
    for (int i = 0; i < count; i++)
        CHECK(atoi(apr_table_get(table, apr_itoa(pool, i))) == i + 1);
    return table;
}

/* Whatever size is requested; and one large table does not make all later ones large. */
static void they_are_small(void)
{
    enum { COUNT = 20000 };
    apr_pool_t *pool;
    size_t before;

    begin();
    pool = made(NULL);
    filled(pool, 1000);
    for (int i = 0; i < 100; i++)
        filled(pool, 2);
    before = stats().in_use;
    for (int i = 0; i < COUNT; i++)
        filled(pool, 2);
    CHECK(stats().in_use - before < COUNT * (size_t)200); /* a table 88; six texts of 8 */
}

/* A table must not be placed in the rest of a piece from malloc(). */
static void beside_large_texts(void)
{
    apr_pool_t *pool;

    begin();
    pool = made(NULL);
    for (int i = 0; i < 50; i++) {
        apr_table_t *tables[20];

        CHECK(strlen(apr_psprintf(pool, "%*d", 40000 + i * 1000, i)) == 40000 + (size_t)i * 1000);
        for (int n = 0; n < 20; n++)
            tables[n] = filled(pool, 5);
        for (int n = 0; n < 20; n++)
            CHECK(strcmp(apr_table_get(tables[n], "4"), "5") == 0);
    }
    apr_pool_destroy(pool); /* leak checkers see the texts */
}

/* A copy with more entries than the largest chunk has room for. */
static void copies_of_large_ones(void)
{
    enum { COUNT = 5000 };
    apr_pool_t *pool;
    apr_table_t *large, *copies[3];

    begin();
    pool = made(NULL);
    large = filled(made(pool), COUNT);
    copies[0] = apr_table_copy(made(pool), large);
    copies[1] = apr_table_clone(made(pool), large);
    copies[2] = apr_table_overlay(made(pool), large, large);
    for (int i = 0; i < 3; i++) {
        CHECK(strcmp(apr_table_get(copies[i], "4999"), "5000") == 0);
        apr_table_setn(copies[i], "4999", "set");
        apr_table_setn(copies[i], "more", "new");
        CHECK(strcmp(apr_table_get(copies[i], "4999"), "set") == 0);
        CHECK(strcmp(apr_table_get(copies[i], "more"), "new") == 0);
        CHECK(apr_table_elts(copies[i])->nelts == (i < 2 ? COUNT : 2 * COUNT - 1) + 1);
    }
    apr_pool_destroy(pool);
}

#define TEST(body) RAW_TEST(body)

int main(void)
{
    const struct CMUnitTest aprtable[] = {
        TEST(both_have_the_same_entries), TEST(a_walk_may_add),       TEST(they_are_small),
        TEST(beside_large_texts),         TEST(copies_of_large_ones),
    };

    return cmocka_run_group_tests(aprtable, NULL, NULL);
}

#else

int main(void)
{
    return 0; /* APR's headers are not here */
}

#endif
