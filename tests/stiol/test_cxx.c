/* SPDX-License-Identifier: Apache-2.0 */
/*
 * C++ with its own runtime library, unmodified: statics whose initialisers wait (the guards of the
 * C++ ABI), and the waits of the standard library, most of which are futexes.
 */
#include <sys/single_threaded.h>

#include "stiol/lot.h"
#include "tests/stiol/stiol_vp.h"
#include "tests/stiol/objects/cxx.h"

static const table_t *call = &table_any;

static _Atomic int done;

/* --- statics --- */

static void *use_static(void *arg)
{
    (void)arg;
    CHECK(cxx_static() == 1);
    note('s');
    return NULL;
}

static void an_initialiser_that_waits_runs_once(void)
{
    int ticks = 0;

    for (int i = 0; i < 5; i++)
        spawn(use_static, NULL);
    spawn(ticker, &ticks);
    while (strlen(noted()) < 5)
        CHECK(call->usleep(1000) == 0);
    stop_ticking = true;
    CHECK(cxx_static() == 1 && cxx_times_made() == 1 && ticks > 1);
    CHECK(stiol__vp->owners_used == 0 && stiol__lot_waiters() == 0);
}

static void *use_many(void *arg)
{
    (void)arg;
    CHECK(cxx_many_statics() == 16);
    done++;
    return NULL;
}

static void state_and_kernel_threads_share_statics(void)
{
    pthread_t ids[3];

    for (int i = 0; i < 3; i++)
        ids[i] = kernel_thread(use_many, NULL);
    for (int i = 0; i < 6; i++)
        spawn(use_many, NULL);
    reap();
    for (int i = 0; i < 3; i++)
        join_kernel_thread(ids[i]);
    CHECK(done == 9 && cxx_times_made() == 16);
}

static void *use_failing(void *arg)
{
    (void)arg;
    note(cxx_static_that_fails_once() < 0 ? 'f' : 's');
    return NULL;
}

static void after_an_exception_the_next_one_tries(void)
{
    for (int i = 0; i < 3; i++)
        spawn(use_failing, NULL);
    reap();
    CHECK(strcmp(noted(), "fss") == 0 && cxx_static_that_fails_once() == 2);
}

static void *need_itself(void *arg)
{
    (void)arg;
    (void)cxx_static_that_needs_itself();
    return NULL;
}

static void need_itself_alone(void)
{
    spawn(need_itself, NULL);
    reap();
}

static void *stay(void *arg)
{
    (void)arg;
    while (pause() != 0)
        continue;
    return NULL;
}

static void need_itself_among_others(void)
{
    (void)kernel_thread(stay, NULL);
    need_itself_alone();
}

/* libstdc++ would wait for itself forever if there were several threads. */
static void an_initialiser_that_comes_to_itself_is_told(void)
{
    CHECK(without(0, need_itself_alone) == 128 + SIGABRT);
    CHECK(without(0, need_itself_among_others) == 128 + SIGABRT);
}

/* --- the standard library --- */

static void *set_future(void *arg)
{
    (void)arg;
    note('t');
    cxx_set_future(7);
    return NULL;
}

static void futures_give_way(void)
{
    int ticks = 0;

    spawn(ticker, &ticks);
    spawn(set_future, NULL);
    CHECK(cxx_get_future() == 7 && strcmp(noted(), "t") == 0);
    for (ticks = 0; ticks == 0;) /* as vp.h says of waits */
        CHECK(cxx_future_in_time(2) == 1);
    stop_ticking = true;
}

static void a_future_of_another_thread_gives_way(void)
{
    int ticks = 0;

    spawn(ticker, &ticks);
    CHECK(cxx_get_from_thread(20) == 20 && ticks > 1);
    stop_ticking = true;
}

static void *wait_for_word(void *arg)
{
    (void)arg;
    cxx_wait_while(0);
    done++;
    return NULL;
}

static void *set_word(void *arg)
{
    cxx_set_word(*(int *)arg);
    return NULL;
}

static void atomics_are_waited_for(void)
{
    for (int round = 0; round < 6; round++) {
        int set = 1;
        pthread_t id = kernel_thread(wait_for_word, NULL);

        for (int i = 0; i < 3; i++)
            spawn(wait_for_word, NULL);
        settle();
        CHECK(done == round * 4);
        if (round % 2 == 0)
            cxx_set_word(set);
        else
            join_kernel_thread(kernel_thread(set_word, &set));
        reap();
        join_kernel_thread(id);
        CHECK(done == (round + 1) * 4);
        cxx_set_word(0);
    }
}

static void *acquire_one(void *arg)
{
    (void)arg;
    cxx_acquire();
    done++;
    return NULL;
}

static void semaphores_are_acquired(void)
{
    pthread_t id = kernel_thread(acquire_one, NULL);

    for (int i = 0; i < 3; i++)
        spawn(acquire_one, NULL);
    settle();
    CHECK(done == 0);
    cxx_release(2);
    while (done < 2)
        st_thread_yield();
    cxx_release(2);
    reap();
    join_kernel_thread(id);
    CHECK(done == 4);
}

static void *meet(void *arg)
{
    (void)arg;
    cxx_arrive_at_latch();
    cxx_meet_at_barrier(20);
    done++;
    return NULL;
}

static void threads_of_both_kinds_meet(void)
{
    pthread_t id = kernel_thread(meet, NULL);

    spawn(meet, NULL);
    spawn(meet, NULL);
    reap();
    join_kernel_thread(id);
    CHECK(done == 3);
}

static void *use_locks(void *arg)
{
    for (int i = 0; i < 20; i++)
        CHECK(cxx_use_locks(arg) == 0);
    return NULL;
}

static void locks_keep_apart(void)
{
    int inside = 0;
    pthread_t id = kernel_thread(use_locks, &inside);

    for (int i = 0; i < 4; i++)
        spawn(use_locks, &inside);
    reap();
    join_kernel_thread(id);
}

static void *be_told(void *arg)
{
    (void)arg;
    cxx_wait_until_told();
    done++;
    return NULL;
}

static void conditions_are_told(void)
{
    pthread_t id = kernel_thread(be_told, NULL);

    for (int i = 0; i < 3; i++)
        spawn(be_told, NULL);
    settle();
    CHECK(done == 0);
    cxx_tell();
    reap();
    join_kernel_thread(id);
    CHECK(done == 4);
}

/* glibc itself goes on to know better: its own calls are the faster for it. */
static void the_library_is_told_of_threads(void)
{
    CHECK(cxx_single_threaded() == 0);
    CHECK(__libc_single_threaded == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(the_library_is_told_of_threads),
        VP_TEST(an_initialiser_that_waits_runs_once),
        VP_TEST(state_and_kernel_threads_share_statics),
        VP_TEST(after_an_exception_the_next_one_tries),
        RAW_TEST(an_initialiser_that_comes_to_itself_is_told),
        VP_TEST(futures_give_way),
        VP_TEST(a_future_of_another_thread_gives_way),
        VP_TEST(atomics_are_waited_for),
        VP_TEST(semaphores_are_acquired),
        VP_TEST(threads_of_both_kinds_meet),
        VP_TEST(locks_keep_apart),
        VP_TEST(conditions_are_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
