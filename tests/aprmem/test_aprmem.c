/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small pools and bucket allocators (aprmem/) in place of APR's, with the real libapr: what APR's
 * manual promises about pools holds for both kinds side by side, on every kind of thread, and
 * memory is given back.
 */
#include "tests/stiol/stiol_vp.h"

#include <sys/mman.h>
#include <sys/resource.h>

#if __has_include(<apr_buckets.h>)
#include <apr_hash.h>
#include <apr_strings.h>
#include <apr_tables.h>
#include <apr_thread_mutex.h>
#include <apr_thread_proc.h>

#include "tests/aprmem/small_pools.h"

/* --- memory --- */

static void fill(unsigned char **places, size_t *sizes, int count, apr_pool_t *pool)
{
    for (int i = 0; i < count; i++) {
        sizes[i] = (size_t)i * 37 % 900 + (i % 50 == 49 ? 90000 : i % 10 == 9 ? (size_t)i * 50 : 0);
        places[i] = i % 2 ? apr_palloc(pool, sizes[i]) : apr_pcalloc(pool, sizes[i]);
        CHECK(places[i] && (uintptr_t)places[i] % 8 == 0);
        for (size_t at = 0; i % 2 == 0 && at < sizes[i]; at++)
            CHECK(places[i][at] == 0);
        memset(places[i], i, sizes[i]);
    }
}

static void what_is_handed_out_is_ones_own(void)
{
    enum { COUNT = 400 };
    static unsigned char *places[COUNT];
    static size_t sizes[COUNT];
    apr_pool_t *pool;

    begin();
    pool = made(NULL);
    CHECK(stats().in_use > 0);
    for (int round = 0; round < 3; round++) {
        fill(places, sizes, COUNT, pool);
        for (int i = 0; i < COUNT; i++)
            for (size_t at = 0; at < sizes[i]; at++)
                CHECK(places[i][at] == (unsigned char)i);
        apr_pool_clear(pool);
    }
    apr_pool_destroy(pool);
}

static void memory_goes_back(void)
{
    enum { COUNT = 2000 };
    static apr_pool_t *pools[COUNT];
    size_t before, most;

    begin();
    before = stats().in_use;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < COUNT; i++) {
            pools[i] = made(old);
            for (int n = 0; n < 20; n++)
                memset(apr_palloc(pools[i], 500), 1, 500);
        }
        most = stats().in_use;
        CHECK(most - before < COUNT * (size_t)13000); /* 10,000 are asked for */
        for (int i = 0; i < COUNT; i++)
            apr_pool_destroy(pools[i]);
        CHECK(stats().in_use < before + 32 * 65536); /* at most a block for each size */
        CHECK(stats().kept <= 64 * 65536 && stats().given > most / 2);
    }
}

static __attribute__((noinline)) apr_pool_t *made_here(apr_pool_t *parent)
{
    apr_pool_t *pool;

    apr_pool_create(&pool, parent);
    escape(pool); /* no tail call: the caller's address is the kind */
    return pool;
}

/* Pools that are created where earlier ones stayed empty start smaller: with 256 bytes. */
static void pools_that_stay_empty_start_small(void)
{
    enum { COUNT = 2048 };
    apr_pool_t *parent, *pools[COUNT];
    size_t before;

    begin();
    parent = made(NULL);
    before = stats().in_use;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < COUNT; i++) {
            pools[i] = made_here(parent);
            if (i == 0)
                apr_pool_clear(pools[i]);
            if (round == 1)
                memset(apr_palloc(pools[i], 200), 1, 200);
        }
        CHECK(round == 1 || stats().in_use - before <= COUNT * (size_t)256 + 2 * 65536);
        for (int i = 0; i < COUNT; i++)
            apr_pool_destroy(pools[i]);
    }
    apr_pool_destroy(parent);
}

static int no_memory(int error)
{
    note((char)('0' + (error == APR_ENOMEM)));
    return 0;
}

static void too_much_is_refused(void)
{
    volatile apr_size_t minus_one = (apr_size_t)-1, minus_100 = (apr_size_t)-100;
    apr_pool_t *pool, *child;

    begin();
    CHECK(apr_pool_create_ex(&pool, NULL, no_memory, NULL) == APR_SUCCESS);
    CHECK(apr_pool_abort_get(pool) == no_memory);
    child = made(pool);
    CHECK(apr_pool_abort_get(child) == no_memory);
    CHECK(!apr_palloc(child, minus_one));
    CHECK(!apr_palloc(child, minus_100));
    CHECK(strcmp(noted(), "11") == 0);
    apr_pool_abort_set(NULL, child);
    CHECK(!apr_palloc(child, minus_one));
    CHECK(strcmp(noted(), "11") == 0);
    child = made(old);
    apr_pool_abort_set(no_memory, old);
    CHECK(!apr_pool_abort_get(child) && apr_pool_abort_get(made(old)) == no_memory);
}

/* The range does not use up a limit on address space, and neither kind fails under one. */
static bool there_is_room(size_t bytes)
{
    void *room = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return room != MAP_FAILED && munmap(room, bytes) == 0;
}

static void a_limit_leaves_room(void)
{
    const size_t limit = (size_t)1 << 30;
    struct rlimit all, least = {limit, limit};
    apr_pool_t *pool;

    CHECK(getrlimit(RLIMIT_AS, &all) == 0);
    if (all.rlim_cur != RLIM_INFINITY || setrlimit(RLIMIT_AS, &least) != 0 ||
        !there_is_room(limit / 4))
        skip_test("there is no such limit, or a sanitizer needs more");
    begin();
    CHECK(there_is_room(limit / 4));
    pool = made(NULL);
    for (size_t bytes = 0; bytes < limit / 3; bytes += 60000)
        CHECK(apr_palloc(pool, 60000));
    apr_pool_destroy(pool);
}

/* --- text --- */

static void text_of_any_length(void)
{
    static char wanted[20000];
    apr_pool_t *pool;
    const char *last = "";

    begin();
    pool = made(NULL);
    for (int length = 0; length < 12000; length += length < 600 ? 1 : 613) {
        char *got = apr_psprintf(pool, "%*s|%d|%s", length, "x", length, "end");
        char *next = apr_palloc(pool, 8);

        CHECK(snprintf(wanted, sizeof(wanted), "%*s|%d|%s", length, "x", length, "end") > 0);
        memset(next, 0xff, 8);
        CHECK(strcmp(got, wanted) == 0);
        CHECK(strlen(last) == 0 || strstr(last, "|end"));
        last = got;
    }
    CHECK(strcmp(apr_psprintf(old, "%d", 42), "42") == 0);
}

/* --- cleanups and children --- */

static apr_status_t noting(void *data)
{
    note(*(char *)data);
    return APR_SUCCESS;
}

static apr_pool_t *registers_in;

static apr_status_t registering(void *data)
{
    apr_pool_cleanup_register(registers_in, data, noting, apr_pool_cleanup_null);
    return APR_SUCCESS;
}

static void register_all(apr_pool_t *pool, const char *names)
{
    for (; *names; names++)
        apr_pool_cleanup_register(pool, names, noting, apr_pool_cleanup_null);
}

/* The same on a pool of APR's own gives the same order: see both_in_the_same_order. */
static const char *ordered(apr_pool_t *pool)
{
    static char names[] = "pcklr";
    apr_pool_t *child = made(pool), *second;

    forget_notes();
    register_all(pool, "ab");
    apr_pool_pre_cleanup_register(pool, &names[0], noting);
    apr_pool_cleanup_register(child, &names[1], noting, apr_pool_cleanup_null);
    register_all(made(child), "g");
    second = made(pool);
    register_all(second, "2");
    apr_pool_cleanup_register(pool, &names[2], noting, apr_pool_cleanup_null);
    apr_pool_cleanup_register(pool, &names[3], noting, apr_pool_cleanup_null);
    apr_pool_cleanup_kill(pool, &names[2], noting);
    apr_pool_cleanup_kill(pool, &names[2], noting);
    CHECK(apr_pool_cleanup_run(pool, &names[3], noting) == APR_SUCCESS);
    registers_in = pool;
    apr_pool_cleanup_register(pool, &names[4], registering, apr_pool_cleanup_null);
    apr_pool_clear(pool);
    note('|');
    register_all(pool, "d");
    register_all(made(pool), "e");
    apr_pool_destroy(pool);
    return noted();
}

static void cleanups_and_children_go_in_order(void)
{
    begin();
    CHECK(strcmp(ordered(made(NULL)), "lp2gcrba|ed") == 0);
}

static void both_in_the_same_order(void)
{
    char *theirs;

    CHECK(apr_initialize() == APR_SUCCESS);
    theirs = strdup(ordered(made(NULL)));
    begin();
    CHECK(strcmp(ordered(made(old)), theirs) == 0);
    free(theirs);
}

/* A small pool below one of APR's is destroyed with it: after its pre-cleanups, before its
 * cleanups. */
static void goes_with_aprs_parent(void)
{
    apr_pool_t *parent, *child;

    CHECK(apr_initialize() == APR_SUCCESS);
    parent = made(NULL);
    register_all(parent, "a");
    apr_pool_pre_cleanup_register(parent, "p", noting);
    begin();
    for (int round = 0; round < 2; round++) {
        child = made(parent);
        CHECK(apr_pool_parent_get(child) == parent);
        CHECK(apr_pool_is_ancestor(parent, child) && !apr_pool_is_ancestor(child, parent));
        CHECK(apr_pool_is_ancestor(apr_pool_parent_get(parent), made(child)));
        CHECK(apr_pool_is_ancestor(child, child) && apr_pool_is_ancestor(NULL, child));
        register_all(child, "c");
        register_all(made(child), "g");
        register_all(made(parent), "2");
        if (round == 0)
            apr_pool_clear(parent);
        else
            apr_pool_destroy(parent);
    }
    CHECK(strcmp(noted(), "p2gca2gc") == 0);
}

/* A cleanup may create a pool below the one being destroyed. The next pool at that address is
 * another one. */
static apr_status_t using_a_pool(void *parent)
{
    apr_pool_destroy(made(parent));
    return APR_SUCCESS;
}

static void cleanups_may_make_pools(void)
{
    begin();
    for (int round = 0; round < 8; round++) {
        apr_pool_t *parent; /* APR's */

        CHECK(apr_pool_create_unmanaged(&parent) == APR_SUCCESS);
        register_all(made(parent), "c");
        apr_pool_cleanup_register(parent, parent, using_a_pool, apr_pool_cleanup_null);
        apr_pool_destroy(parent);
    }
    CHECK(strcmp(noted(), "cccccccc") == 0);
}

/* --- what is attached to a pool --- */

static void data_and_libraries(void)
{
    apr_pool_t *pool;
    apr_table_t *table;
    void *data = NULL;
    char key[] = "key";

    begin();
    pool = made(NULL);
    CHECK(apr_pool_userdata_get(&data, "key", pool) == APR_SUCCESS && !data);
    CHECK(apr_pool_userdata_set("1", key, noting, pool) == APR_SUCCESS);
    key[0] = 'K'; /* it was copied */
    CHECK(apr_pool_userdata_get(&data, "key", pool) == APR_SUCCESS && *(char *)data == '1');
    CHECK(apr_pool_userdata_setn("2", "other", NULL, pool) == APR_SUCCESS);
    CHECK(apr_pool_userdata_get(&data, "other", pool) == APR_SUCCESS && *(char *)data == '2');
    table = apr_table_make(pool, 1);
    for (int i = 0; i < 300; i++)
        apr_table_setn(table, apr_itoa(pool, i), apr_pstrcat(pool, "<", apr_itoa(pool, i), NULL));
    CHECK(strcmp(apr_table_get(table, "299"), "<299") == 0);
    apr_pool_tag(pool, "tagged");
    apr_pool_clear(pool);
    CHECK(strcmp(noted(), "1") == 0);
    CHECK(apr_pool_userdata_get(&data, "key", pool) == APR_SUCCESS && !data);
}

static void its_own_allocator_goes_with_it(void)
{
    apr_allocator_t *allocator;
    apr_thread_mutex_t *mutex;
    apr_memnode_t *node;
    apr_pool_t *pool;

    begin();
    CHECK(apr_allocator_create(&allocator) == APR_SUCCESS);
    CHECK(apr_pool_create_ex(&pool, NULL, NULL, allocator) == APR_SUCCESS);
    apr_allocator_owner_set(allocator, pool);
    CHECK(apr_thread_mutex_create(&mutex, APR_THREAD_MUTEX_DEFAULT, pool) == APR_SUCCESS);
    apr_allocator_mutex_set(allocator, mutex);
    CHECK(apr_pool_allocator_get(made(pool)) == allocator);
    node = apr_allocator_alloc(allocator, 100);
    CHECK(node);
    apr_allocator_free(allocator, node);
    apr_pool_destroy(pool); /* leak checkers see it */
}

/* --- processes --- */

static void subprocesses_are_ended(void)
{
    apr_proc_t process = {0};
    apr_pool_t *pool;

    begin();
    pool = made(NULL);
    process.pid = fork();
    CHECK(process.pid >= 0);
    if (process.pid == 0) {
        for (;;)
            pause();
    }
    apr_pool_note_subprocess(pool, &process, APR_KILL_ALWAYS);
    apr_pool_destroy(pool);
    CHECK(waitpid(process.pid, NULL, 0) == -1 && errno == ECHILD);
}

static int report[2];

static apr_status_t telling(void *data)
{
    return write(report[1], data, 1) == 1 ? APR_SUCCESS : APR_EGENERAL;
}

/* In the child of a fork both kinds of cleanups run, and pools can be used and made. */
static void children_of_a_fork(void)
{
    apr_pool_t *pool, *grandchild;
    char got[8] = "";
    int status;
    pid_t pid;

    begin();
    CHECK(pipe(report) == 0);
    pool = made(old);
    grandchild = made(pool);
    apr_pool_cleanup_register(old, "o", noting, telling);
    apr_pool_cleanup_register(pool, "x", noting, apr_pool_cleanup_null);
    apr_pool_child_cleanup_set(pool, "x", noting, telling);
    apr_pool_cleanup_register(grandchild, "g", noting, telling);
    pid = fork();
    if (pid == 0) {
        apr_pool_cleanup_for_exec();
        apr_pool_destroy(made(grandchild));
        _exit(strcmp(apr_psprintf(pool, "%d", 7), "7"));
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    CHECK(read(report[0], got, sizeof(got)) == 3 && strcmp(got, "oxg") == 0);
    CHECK(strcmp(noted(), "") == 0);
}

/* --- kernel threads that are no VP's --- */

static void *on_kernel_thread(void *arg)
{
    apr_pool_t *shared = arg;

    for (int i = 0; i < 200; i++) {
        apr_pool_t *pool = made(shared), *real = made(old);
        apr_bucket_alloc_t *list = apr_bucket_alloc_create(pool);

        memset(apr_palloc(pool, 3000), 1, 3000);
        memset(apr_palloc(real, 3000), 1, 3000);
        apr_bucket_free(apr_bucket_alloc(64, list));
        apr_bucket_free(apr_bucket_alloc(3000, list));
        if (i % 2)
            apr_pool_destroy(pool);
        else
            register_all(made(pool), i == 0 ? "k" : "");
        apr_pool_destroy(real);
    }
    return apr_pstrdup(shared, "theirs");
}

static void kernel_threads_may_use_them(void)
{
    apr_pool_t *pool;
    pthread_t thread;
    size_t before;

    begin();
    pool = made(NULL);
    before = stats().in_use;
    thread = kernel_thread(on_kernel_thread, pool);
    for (int i = 0; i < 2000; i++) {
        apr_pool_t *mine = made(pool);

        memset(apr_palloc(mine, 2000), 2, 2000);
        apr_pool_destroy(mine);
    }
    join_kernel_thread(thread);
    apr_pool_destroy(pool);
    CHECK(strcmp(noted(), "k") == 0);
    CHECK(stats().in_use <= before + 16 * 65536);
}

/* What a kernel thread frees of the VP's memory belongs to the VP again. */
static void *destroys(void *arg)
{
    apr_pool_destroy(arg);
    return NULL;
}

static void given_back_by_another_thread(void)
{
    size_t most = 0;

    begin();
    for (int i = 0; i < 50; i++) {
        apr_pool_t *pool = made(NULL);

        memset(apr_palloc(pool, 30000), 3, 30000);
        join_kernel_thread(kernel_thread(destroys, pool));
        if (i == 5)
            most = stats().in_use;
    }
    CHECK(stats().in_use <= most + 65536);
}

/* Pools that the VP has created: a kernel thread destroys them, newest first, while the VP creates
 * and destroys others of the same parent. */
enum { HANDED = 20000 };
static apr_pool_t *handed[HANDED];
static atomic_int ended;

static apr_status_t counting(void *data)
{
    (void)data;
    atomic_fetch_add(&ended, 1);
    return APR_SUCCESS;
}

static void *destroys_what_is_handed(void *arg)
{
    for (int i = HANDED; i-- > 0;)
        apr_pool_destroy(handed[i]);
    return arg;
}

static void hand_over(apr_pool_t *parent)
{
    pthread_t thread;

    atomic_store(&ended, 0);
    for (int i = 0; i < HANDED; i++) {
        handed[i] = made(parent);
        apr_pool_cleanup_register(handed[i], NULL, counting, apr_pool_cleanup_null);
    }
    thread = kernel_thread(destroys_what_is_handed, NULL);
    while (atomic_load(&ended) < HANDED)
        apr_pool_destroy(made(parent));
    join_kernel_thread(thread);
    apr_pool_clear(parent);
    CHECK(atomic_load(&ended) == HANDED);
}

static void handed_to_another_thread(void)
{
    begin();
    hand_over(old);
    hand_over(made(NULL));
}

/* --- a bucket allocator that the VP and a kernel thread use at once --- */

enum { TRADED = 200000, DISTANCE = 500 };

static apr_bucket_alloc_t *common;
static unsigned char *_Atomic to_vp[TRADED], *_Atomic to_thread[TRADED];

static unsigned char *piece_of(int i, int side)
{
    static const apr_size_t sizes[] = {24, 64, 300, 8000};
    apr_size_t size = i % 1000 == 0 ? 100000 : sizes[i % 100 == 0 ? 3 : i % 3];
    unsigned char *memory = apr_bucket_alloc(size, common);

    CHECK(memory);
    memset(memory, 2 * i + side, size);
    return memory;
}

/* Allocates pieces for the other side, and frees the other's some time later. */
static void trade(unsigned char *_Atomic *mine, unsigned char *_Atomic *others, int side)
{
    for (int i = 0; i < TRADED; i++) {
        unsigned char *theirs;

        atomic_store(&mine[i], piece_of(i, side));
        apr_bucket_free(piece_of(i + 1, side));
        if (i < DISTANCE)
            continue;
        while (!(theirs = atomic_load(&others[i - DISTANCE])))
            sched_yield();
        CHECK(theirs[0] == (unsigned char)(2 * (i - DISTANCE) + !side) && theirs[23] == theirs[0]);
        apr_bucket_free(theirs);
    }
}

static void *trades(void *arg)
{
    trade(to_vp, to_thread, 1);
    return arg;
}

static void *takes_one(void *arg)
{
    *(void **)arg = apr_bucket_alloc(64, common);
    return NULL;
}

static void *frees_it(void *arg)
{
    apr_bucket_free(*(void **)arg);
    return NULL;
}

/* The VP's free cells are the VP's; those that a kernel thread frees come back to it. */
static void cells_are_the_vps(void)
{
    void *free_one = apr_bucket_alloc(64, common), *other, *again;

    apr_bucket_free(free_one);
    join_kernel_thread(kernel_thread(takes_one, &other));
    CHECK(other != free_one);
    CHECK(apr_bucket_alloc(64, common) == free_one);
    join_kernel_thread(kernel_thread(frees_it, &free_one));
    join_kernel_thread(kernel_thread(frees_it, &other));
    again = apr_bucket_alloc(64, common);
    CHECK(again == free_one);
    apr_bucket_free(again);
}

static void one_bucket_allocator_for_two_threads(void)
{
    pthread_t thread;

    begin();
    common = apr_bucket_alloc_create(made(old));
    cells_are_the_vps();
    thread = kernel_thread(trades, NULL);
    trade(to_thread, to_vp, 0);
    join_kernel_thread(thread);
    apr_bucket_free(piece_of(0, 0));
}

/* A fork finds no list half changed and no lock held by a thread that does not exist in the
 * child. */
static atomic_bool enough;

static void *makes_pools(void *arg)
{
    while (!atomic_load(&enough))
        apr_pool_destroy(made(arg));
    return NULL;
}

static void forks_beside_other_threads(void)
{
    apr_pool_t *pool;
    pthread_t thread;
    int status;

    begin();
    pool = made(old);
    thread = kernel_thread(makes_pools, pool);
    for (int i = 0; i < 200; i++) {
        pid_t pid = fork();

        CHECK(pid >= 0);
        if (pid == 0) {
            end_if_hung();
            apr_pool_cleanup_for_exec();
            apr_pool_destroy(pool);
            _exit(!apr_palloc(made(old), 10));
        }
        CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    }
    atomic_store(&enough, true);
    join_kernel_thread(thread);
}

/* --- buckets --- */

static void cells_are_used_again(void)
{
    static char *places[3][300];
    static const size_t sizes[] = {40, 200, 9000};
    apr_pool_t *pool;
    apr_bucket_alloc_t *list;
    size_t most = 0;

    begin();
    pool = made(NULL);
    list = apr_bucket_alloc_create(pool);
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 900; i++) {
            places[i % 3][i / 3] = apr_bucket_alloc(sizes[i % 3], list);
            CHECK(places[i % 3][i / 3] && (uintptr_t)places[i % 3][i / 3] % 8 == 0);
            memset(places[i % 3][i / 3], i, sizes[i % 3]);
        }
        for (int i = 0; i < 900; i++) {
            CHECK(places[i % 3][i / 3][0] == (char)i);
            CHECK(places[i % 3][i / 3][sizes[i % 3] - 1] == (char)i);
            apr_bucket_free(places[i % 3][i / 3]);
        }
        if (round == 0)
            most = stats().in_use;
    }
    CHECK(stats().in_use <= most);
    apr_pool_destroy(pool);
}

static void floors_can_be_had(void)
{
    apr_bucket_alloc_t *list;

    begin();
    list = apr_bucket_alloc_create(made(NULL));
    for (size_t size = 1; size < 100000; size += size / 7 + 1) {
        size_t floor = apr_bucket_alloc_aligned_floor(list, size);
        char *place = apr_bucket_alloc(floor, list);

        CHECK(floor > 0 && place);
        memset(place, 5, floor);
        apr_bucket_free(place);
    }
    CHECK(apr_bucket_alloc_aligned_floor(list, 8192) == 8192 - 16);
    CHECK(apr_bucket_alloc_aligned_floor(old_list, 8192) > 8000);
    apr_bucket_alloc_destroy(list);
}

static void brigades_of_both_kinds(void)
{
    apr_allocator_t *allocator;
    apr_bucket_alloc_t *list;
    apr_bucket_brigade *brigade, *older;
    apr_size_t length = 0;
    char *flat;

    begin();
    CHECK(apr_allocator_create(&allocator) == APR_SUCCESS);
    list = apr_bucket_alloc_create_ex(allocator);
    brigade = apr_brigade_create(made(NULL), list);
    older = apr_brigade_create(old, old_list);
    for (int i = 0; i < 2000; i++) {
        CHECK(apr_brigade_printf(brigade, NULL, NULL, "%d,", i) == APR_SUCCESS);
        CHECK(apr_brigade_printf(older, NULL, NULL, "%d,", i) == APR_SUCCESS);
        APR_BRIGADE_INSERT_TAIL(brigade, apr_bucket_pool_create("-", 1, old, list));
    }
    APR_BRIGADE_CONCAT(brigade, older);
    CHECK(apr_brigade_pflatten(brigade, &flat, &length, made(NULL)) == APR_SUCCESS);
    CHECK(length == 2 * 8890 + 2000);
    apr_brigade_destroy(brigade);
    apr_bucket_alloc_destroy(list);
    apr_allocator_destroy(allocator);
}

#define TEST(body) RAW_TEST(body)

int main(void)
{
    const struct CMUnitTest aprmem[] = {
        TEST(what_is_handed_out_is_ones_own),
        TEST(memory_goes_back),
        TEST(pools_that_stay_empty_start_small),
        TEST(too_much_is_refused),
        TEST(a_limit_leaves_room),
        TEST(text_of_any_length),
        TEST(cleanups_and_children_go_in_order),
        TEST(both_in_the_same_order),
        TEST(goes_with_aprs_parent),
        TEST(cleanups_may_make_pools),
        TEST(data_and_libraries),
        TEST(its_own_allocator_goes_with_it),
        TEST(subprocesses_are_ended),
        TEST(children_of_a_fork),
        TEST(kernel_threads_may_use_them),
        TEST(given_back_by_another_thread),
        TEST(handed_to_another_thread),
        TEST(one_bucket_allocator_for_two_threads),
        TEST(forks_beside_other_threads),
        TEST(cells_are_used_again),
        TEST(floors_can_be_had),
        TEST(brigades_of_both_kinds),
    };

    return cmocka_run_group_tests(aprmem, NULL, NULL);
}

#else

int main(void)
{
    return 0; /* APR's headers are not here */
}

#endif
