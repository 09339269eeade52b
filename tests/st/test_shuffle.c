/* SPDX-License-Identifier: Apache-2.0 */
/* The random order of a build with -DST_SHUFFLE: different from first come, first served; the same
 * for the same seed; and fair enough that each thread gets its turns. */
#include "tests/vp.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#include "st/st_shuffle.h"

enum { THREADS = 24, TURNS = 20 };

static char order[THREADS * TURNS + 1];
static int turns;

static void *take_turns(void *arg)
{
    for (int i = 0; i < TURNS; i++) {
        order[turns++] = (char)('a' + (int)(intptr_t)arg);
        st_thread_yield();
    }
    return NULL;
}

static void *shuffle_once(void *arg)
{
    order[turns++] = (char)('a' + (int)(intptr_t)arg);
    st_shuffle();
    return NULL;
}

/* Runs the threads on a VP of their own; records who ran when. */
static const char *run(const char *seed, void *(*body)(void *))
{
    st_thread_t threads[THREADS];

    turns = 0;
    memset(order, 0, sizeof(order));
    if (seed)
        setenv(ST_SHUFFLE_SEED_VARIABLE, seed, 1);
    else
        unsetenv(ST_SHUFFLE_SEED_VARIABLE);
    assert_ok(st_init());
    for (int i = 0; i < THREADS; i++)
        assert_non_null(threads[i] = st_thread_create(body, (void *)(intptr_t)i, 1, 0));
    for (int i = 0; i < THREADS; i++)
        assert_ok(st_thread_join(threads[i], NULL));
    assert_ok(st_destroy());
    return order;
}

static void the_same_seed_gives_the_same_order(void)
{
    char first[sizeof(order)];

    strcpy(first, run("1", take_turns));
    assert_string_equal(first, run("1", take_turns));
    assert_string_not_equal(first, run("2", take_turns));
}

static void everyone_has_all_turns(void)
{
    int had[THREADS] = {0};

    (void)run("3", take_turns);
    for (int i = 0; i < turns; i++)
        had[order[i] - 'a']++;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(had[i], TURNS);
}

static void any_of_the_first_may_be_next(void)
{
    char seed[20];
    bool first[THREADS] = {false};

    for (int i = 0; i < 400; i++) {
        (void)snprintf(seed, sizeof(seed), "%d", i);
        first[run(seed, shuffle_once)[0] - 'a'] = true;
    }
    for (int i = 0; i < 16; i++)
        assert_true(first[i]);
    for (int i = 16; i < THREADS; i++)
        assert_false(first[i]);
}

static void the_seed_can_be_asked_for(void)
{
    setenv(ST_SHUFFLE_SEED_VARIABLE, "0x10", 1);
    assert_ok(st_init());
    assert_int_equal(st_shuffle_seed(), 16);
    assert_ok(st_destroy());
    unsetenv(ST_SHUFFLE_SEED_VARIABLE);
    assert_ok(st_init());
    assert_int_not_equal(st_shuffle_seed(), 0);
    assert_ok(st_destroy());
}

/* --- fork --- */

static int others;

static void *run_as_other(void *arg)
{
    others++;
    return arg;
}

static void handler_of_child(void)
{
    for (int i = 0; i < 1000; i++)
        st_shuffle();
}

/* A library's handler, which was there before libst's. */
static void in_the_child_of_a_fork_nobody_else_runs(void)
{
    st_thread_t thread;
    pid_t pid;
    int status;

    assert_ok(pthread_atfork(NULL, NULL, handler_of_child));
    assert_ok(st_init());
    assert_non_null(thread = st_thread_create(run_as_other, NULL, 1, 0));
    pid = fork();
    if (pid == 0)
        _exit(others);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(others, 0);
    assert_ok(st_thread_join(thread, NULL));
    assert_int_equal(others, 1);
    assert_ok(st_destroy());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RAW_TEST(the_same_seed_gives_the_same_order),
        RAW_TEST(everyone_has_all_turns),
        RAW_TEST(any_of_the_first_may_be_next),
        RAW_TEST(the_seed_can_be_asked_for),
        RAW_TEST(in_the_child_of_a_fork_nobody_else_runs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
