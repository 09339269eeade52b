/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pools at rest (aprmem/rest.c): every byte comes back, pages are given back meanwhile, what uses a
 * resting pool rouses it, and guests rest with their host.
 */
#include "tests/stiol/stiol_vp.h"

#include <sys/mman.h>
#include <sys/wait.h>

#if __has_include(<apr_buckets.h>)
#include <apr_strings.h>
#include <apr_thread_proc.h>

#include "tests/aprmem/small_pools.h"

enum { PAGE = 4096, LARGE = 8272, COUNT = 40 };

/* A large piece with runs of zeros of all lengths, and single ones. */
static void fill(unsigned char *memory, size_t size, unsigned seed)
{
    memset(memory, 0, size);
    for (size_t at = seed % 64, run = 1; at < size; at += run % 97 * 8 + seed % 9, run++)
        for (size_t i = 0; i < run % 23 && at < size; i++)
            memory[at++] = (unsigned char)(seed + i + run);
    memory[size - 1] = (unsigned char)(seed | 1);
}

static bool filled(const unsigned char *memory, size_t size, unsigned seed)
{
    static unsigned char expected[70000];

    fill(expected, size, seed);
    return memcmp(memory, expected, size) == 0;
}

static bool resident(const void *address)
{
    unsigned char there = 0;

    CHECK(mincore((void *)((uintptr_t)address & ~(uintptr_t)(PAGE - 1)), PAGE, &there) == 0);
    return there & 1;
}

/* Neighbours in a block rest and are roused in any order, some never do. */
static void every_byte_comes_back(void)
{
    static const size_t sizes[] = {1100, 3000, 4096, LARGE, 16000, 30000};
    static apr_pool_t *pools[COUNT];
    static unsigned char *places[COUNT];

    begin();
    for (size_t kind = 0; kind < sizeof(sizes) / sizeof(*sizes); kind++) {
        size_t size = sizes[kind];

        for (unsigned i = 0; i < COUNT; i++) {
            pools[i] = made(old);
            places[i] = apr_palloc(pools[i], size);
            fill(places[i], size, i);
        }
        for (unsigned round = 1; round < 200; round++) {
            unsigned i = round * 7 % COUNT;

            if (i % 5 == 0)
                continue;
            (void)aprmem_rest(pools[i], true, NULL);
            i = round * 11 % COUNT;
            aprmem_rouse(pools[i], NULL);
            CHECK(filled(places[i], size, i));
            fill(places[i], size, i);
        }
        for (unsigned i = 0; i < COUNT; i++) {
            aprmem_rouse(pools[i], NULL);
            CHECK(filled(places[i], size, i));
            apr_pool_destroy(pools[i]);
        }
    }
}

static void pages_are_given_back(void)
{
    enum { MANY = 70 }; /* some blocks of chunks that are not aligned to pages */
    static apr_pool_t *pools[MANY];
    static unsigned char *places[MANY];

    begin();
    for (int i = 0; i < MANY; i++) {
        pools[i] = made(old);
        places[i] = apr_pcalloc(pools[i], LARGE);
        memset(places[i], 1, 100);
        memset(places[i] + 5000, 2, 100);
    }
    for (int i = 0; i < MANY; i++)
        CHECK(resident(places[i]) && resident(places[i] + 5000));
    for (int i = 0; i < MANY; i++)
        CHECK(aprmem_rest(pools[i], false, NULL));
    for (int i = 0; i < MANY; i++)
        CHECK(!resident(places[i]) && !resident(places[i] + 5000));
    aprmem_rouse(pools[3], NULL);
    CHECK(resident(places[3]) && places[3][99] == 1 && places[3][5099] == 2);
    CHECK(!resident(places[9]));
}

static void little_gain_is_left(void)
{
    apr_pool_t *pool;
    unsigned char *dense;

    begin();
    pool = made(old);
    dense = apr_palloc(pool, LARGE);
    memset(dense, 7, LARGE);
    CHECK(!aprmem_rest(pool, true, NULL) && resident(dense));
    CHECK(!aprmem_rest(old, true, NULL)); /* not ours */
}

static apr_status_t gone(void *data)
{
    note(*(char *)data);
    return APR_SUCCESS;
}

/* Its cleanups, too, lie in chunks that rest. */
static void use_rouses(void)
{
    apr_pool_t *pool;
    unsigned char *large;
    char *name;
    void *data;

    begin();
    for (int way = 0; way < 7; way++) {
        pool = made(old);
        CHECK(apr_palloc(pool, 200)); /* the first chunk is full */
        large = apr_pcalloc(pool, 3000);
        fill(large, 3000, 5);
        name = apr_pcalloc(pool, 2000);
        *name = (char)('a' + way);
        apr_pool_cleanup_register(pool, name, gone, apr_pool_cleanup_null);
        CHECK(apr_pool_userdata_setn(name, "key", NULL, pool) == APR_SUCCESS);
        CHECK(aprmem_rest(pool, true, NULL));
        switch (way) {
        case 0:
            CHECK(apr_pcalloc(pool, 64) && filled(large, 3000, 5));
            break;
        case 1:
            CHECK(strcmp(apr_psprintf(pool, "%d", 12345), "12345") == 0);
            CHECK(filled(large, 3000, 5));
            break;
        case 2:
            apr_pool_cleanup_kill(pool, name, gone);
            CHECK(filled(large, 3000, 5));
            apr_pool_cleanup_register(pool, name, gone, apr_pool_cleanup_null);
            break;
        case 3:
            CHECK(apr_pool_userdata_get(&data, "key", pool) == APR_SUCCESS && data == name);
            CHECK(filled(large, 3000, 5));
            break;
        case 4:
            apr_pool_cleanup_register(pool, large, apr_pool_cleanup_null, apr_pool_cleanup_null);
            apr_pool_cleanup_kill(pool, large, apr_pool_cleanup_null);
            break;
        case 5:
            apr_pool_clear(pool);
            break;
        default:
            break;
        }
        apr_pool_destroy(pool);
    }
    CHECK(strcmp(noted(), "abcdefg") == 0);
}

static void a_child_rests_too(void)
{
    apr_pool_t *pool, *child, *busy;
    unsigned char *own, *small, *elsewhere;

    begin();
    pool = made(old);
    child = made(pool);
    busy = made(pool);
    apr_pool_tag(child, "session");
    apr_pool_tag(busy, "stream");
    own = apr_pcalloc(child, LARGE);
    small = apr_pcalloc(child, 2000);
    elsewhere = apr_pcalloc(busy, LARGE);
    fill(own, LARGE, 3);
    *small = *elsewhere = 9;
    CHECK(aprmem_rest(pool, false, "session"));
    CHECK(*small == 9 && *elsewhere == 9); /* a debug build ends here if they rest */
    aprmem_rouse(pool, "session");
    CHECK(filled(own, LARGE, 3));
    CHECK(aprmem_rest(pool, false, "session"));
    apr_pool_destroy(pool);
}

static void guests_rest_with_their_host(void)
{
    apr_pool_t *pool;
    unsigned char *guest, *other, *small, *grown;

    begin();
    pool = made(old);
    aprmem_invite();
    guest = aprmem_calloc(2, 4000);
    other = aprmem_malloc(5000);
    small = aprmem_malloc(100);
    aprmem_invited(pool, guest);
    CHECK(guest && other && small && (uintptr_t)guest % 16 == 0);
    for (int i = 0; i < 8000; i++)
        CHECK(guest[i] == 0);
    fill(guest, 8000, 11);
    fill(other, 5000, 12);
    for (int round = 0; round < 3; round++) {
        CHECK(!aprmem_rest(pool, false, NULL)); /* others might use it */
        CHECK(filled(guest, 8000, 11));
        CHECK(aprmem_rest(pool, true, NULL));
        CHECK(filled(other, 5000, 12)); /* it is nobody's guest */
        aprmem_rouse(pool, NULL);
        CHECK(filled(guest, 8000, 11));
    }
    grown = aprmem_realloc(guest, 9000);
    CHECK(grown && filled(grown, 8000, 11));
    CHECK(!aprmem_rest(pool, true, NULL));
    aprmem_free(grown);
    aprmem_free(small);
    aprmem_free(other);
    aprmem_free(NULL);
    CHECK((guest = aprmem_realloc(NULL, 2000)));
    CHECK(!aprmem_realloc(guest, 0));
}

static void guests_may_outlive_their_host(void)
{
    apr_pool_t *pool;
    unsigned char *guest, *left;

    begin();
    pool = made(old);
    aprmem_invite();
    guest = aprmem_malloc(3000);
    left = aprmem_malloc(3000);
    aprmem_invited(pool, NULL);
    fill(guest, 3000, 4);
    memset(left, 0, 3000);
    CHECK(aprmem_rest(pool, true, NULL));
    aprmem_rouse(pool, NULL);
    aprmem_free(left);
    CHECK(aprmem_rest(pool, true, NULL));
    apr_pool_destroy(pool);
    CHECK(filled(guest, 3000, 4));
    aprmem_free(guest);
}

/* Before a child process runs a program, cleanups run there. */
static void children_of_a_fork(void)
{
    apr_pool_t *pool;
    char *name;
    apr_procattr_t *attributes;
    apr_proc_t process;
    static const char *const arguments[] = {"true", NULL};

    begin();
    pool = made(old);
    CHECK(apr_palloc(pool, 200));
    name = apr_pcalloc(pool, 3000);
    *name = 'x';
    apr_pool_cleanup_register(pool, name, gone, gone);
    CHECK(aprmem_rest(pool, true, NULL));
    CHECK(apr_procattr_create(&attributes, old) == APR_SUCCESS);
    CHECK(apr_procattr_cmdtype_set(attributes, APR_PROGRAM_PATH) == APR_SUCCESS);
    CHECK(apr_proc_create(&process, "true", arguments, NULL, attributes, old) == APR_SUCCESS);
    CHECK(apr_proc_wait(&process, NULL, NULL, APR_WAIT) == APR_CHILD_DONE);
    aprmem_rouse(pool, NULL);
    CHECK(*name == 'x');
}

#define TEST(body) RAW_TEST(body)

int main(void)
{
    const struct CMUnitTest rest[] = {
        TEST(every_byte_comes_back),
        TEST(pages_are_given_back),
        TEST(little_gain_is_left),
        TEST(use_rouses),
        TEST(a_child_rests_too),
        TEST(guests_rest_with_their_host),
        TEST(guests_may_outlive_their_host),
        TEST(children_of_a_fork),
    };

    return cmocka_run_group_tests(rest, NULL, NULL);
}

#else

int main(void)
{
    return 0; /* APR's headers are not here */
}

#endif
