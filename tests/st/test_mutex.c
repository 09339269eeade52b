/* SPDX-License-Identifier: Apache-2.0 */
/* Mutexes: ownership, the errors, hand-over in order of arrival. Interrupts of waiters are in
 * test_interrupt.c. */
#include "tests/vp.h"

static st_mutex_t mutex;
static char trace[32];

static void *lock_and_note(void *arg)
{
    assert_ok(st_mutex_lock(mutex));
    trace[strlen(trace)] = *(const char *)arg;
    assert_ok(st_mutex_unlock(mutex));
    return NULL;
}

static void lock_and_unlock(void)
{
    assert_non_null(mutex = st_mutex_new());
    for (int i = 0; i < 10; i++) {
        assert_ok(st_mutex_lock(mutex));
        assert_ok(st_mutex_unlock(mutex));
        assert_ok(st_mutex_trylock(mutex));
        assert_ok(st_mutex_unlock(mutex));
    }
    assert_ok(st_mutex_destroy(mutex));
}

static void relock_is_a_deadlock(void)
{
    mutex = st_mutex_new();
    assert_ok(st_mutex_lock(mutex));
    assert_fails(st_mutex_lock(mutex), EDEADLK);
    assert_fails(st_mutex_trylock(mutex), EBUSY);
    assert_ok(st_mutex_unlock(mutex));
    assert_ok(st_mutex_destroy(mutex));
}

static void unlock_by_another_is_refused(void)
{
    mutex = st_mutex_new();
    assert_fails(st_mutex_unlock(mutex), EPERM);
    assert_ok(st_mutex_lock(mutex));
    assert_ok(st_mutex_unlock(mutex));
    assert_fails(st_mutex_unlock(mutex), EPERM);
    assert_ok(st_mutex_destroy(mutex));
}

static void *other_thread_tries(void *arg)
{
    (void)arg;
    assert_fails(st_mutex_unlock(mutex), EPERM);
    assert_fails(st_mutex_trylock(mutex), EBUSY);
    return NULL;
}

static void only_the_owner_unlocks(void)
{
    mutex = st_mutex_new();
    assert_ok(st_mutex_lock(mutex));
    assert_ok(st_thread_join(st_thread_create(other_thread_tries, NULL, 1, 0), NULL));
    assert_ok(st_mutex_unlock(mutex));
    assert_ok(st_mutex_destroy(mutex));
}

static void waiters_get_it_in_order(void)
{
    const char *names = "abcdef";

    mutex = st_mutex_new();
    assert_ok(st_mutex_lock(mutex));
    for (int i = 0; i < 6; i++)
        st_thread_create(lock_and_note, (void *)(uintptr_t)&names[i], 0, 0);
    settle();
    assert_string_equal(trace, "");
    assert_ok(st_mutex_unlock(mutex));
    settle();
    assert_string_equal(trace, names);
    assert_ok(st_mutex_destroy(mutex));
}

/* Unlocking gives the mutex to the first waiter: a later thread does not overtake it, even before
 * it has run. */
static void hand_over_cannot_be_overtaken(void)
{
    mutex = st_mutex_new();
    assert_ok(st_mutex_lock(mutex));
    st_thread_t waiter = st_thread_create(lock_and_note, "w", 1, 0);
    settle();
    assert_ok(st_mutex_unlock(mutex));
    assert_fails(st_mutex_trylock(mutex), EBUSY);
    assert_fails(st_mutex_unlock(mutex), EPERM);
    assert_ok(st_mutex_lock(mutex)); /* in the queue behind it */
    assert_string_equal(trace, "w");
    assert_ok(st_mutex_unlock(mutex));
    assert_ok(st_thread_join(waiter, NULL));
    assert_ok(st_mutex_destroy(mutex));
}

static void destroy_is_refused_while_in_use(void)
{
    mutex = st_mutex_new();
    assert_ok(st_mutex_lock(mutex));
    assert_fails(st_mutex_destroy(mutex), EBUSY);
    st_thread_t waiter = st_thread_create(lock_and_note, "w", 1, 0);
    settle();
    assert_fails(st_mutex_destroy(mutex), EBUSY);
    assert_ok(st_mutex_unlock(mutex));
    assert_fails(st_mutex_destroy(mutex), EBUSY);
    assert_ok(st_thread_join(waiter, NULL));
    assert_ok(st_mutex_destroy(mutex));
}

/* --- under load --- */

static int inside, total, rounds;

static void *contend(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;

    for (int i = 0; i < rounds; i++) {
        assert_ok(st_mutex_lock(mutex));
        assert_int_equal(inside++, 0);
        if (rand_r(&seed) % 2)
            assert_ok(st_usleep(ST_UTIME_NO_WAIT));
        assert_int_equal(--inside, 0);
        total++;
        assert_ok(st_mutex_unlock(mutex));
        if (rand_r(&seed) % 3 == 0)
            assert_ok(st_usleep(ST_UTIME_NO_WAIT));
    }
    return NULL;
}

static void one_at_a_time(void)
{
    st_thread_t threads[20];

    mutex = st_mutex_new();
    rounds = scaled(500);
    for (uintptr_t i = 0; i < 20; i++)
        threads[i] = st_thread_create(contend, (void *)(i + 1), 1, 0);
    for (int i = 0; i < 20; i++)
        assert_ok(st_thread_join(threads[i], NULL));
    assert_int_equal(total, 20 * rounds);
    assert_ok(st_mutex_destroy(mutex));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(lock_and_unlock),
        VP_TEST(relock_is_a_deadlock),
        VP_TEST(unlock_by_another_is_refused),
        VP_TEST(only_the_owner_unlocks),
        VP_TEST(waiters_get_it_in_order),
        VP_TEST(hand_over_cannot_be_overtaken),
        VP_TEST(destroy_is_refused_while_in_use),
        VP_TEST(one_at_a_time),
    };
    return cmocka_run_group_tests_name("mutex", tests, NULL, NULL);
}
