/* SPDX-License-Identifier: Apache-2.0 */
/* Condition variables: order, broadcast, timeouts, and what meets in one turn. */
#include "tests/vp.h"

static st_cond_t cond;
static char woken[32];

struct waiter {
    char name;
    st_utime_t timeout;
    int error; /* 0: signalled */
};

static void *wait_and_note(void *arg)
{
    struct waiter *waiter = arg;
    int result = st_cond_timedwait(cond, waiter->timeout);

    waiter->error = result < 0 ? errno : 0;
    woken[strlen(woken)] = waiter->name;
    return NULL;
}

static void start(struct waiter *waiters, int n)
{
    assert_non_null(cond = st_cond_new());
    for (int i = 0; i < n; i++)
        assert_non_null(st_thread_create(wait_and_note, &waiters[i], 0, 0));
    settle();
    assert_string_equal(woken, "");
}

static void signal_without_waiters_is_lost(void)
{
    struct waiter waiter = {'w', ST_UTIME_NO_TIMEOUT, 0};

    cond = st_cond_new();
    assert_ok(st_cond_signal(cond));
    assert_ok(st_cond_broadcast(cond));
    assert_ok(st_cond_destroy(cond));
    start(&waiter, 1);
    assert_ok(st_cond_signal(cond));
    settle();
    assert_string_equal(woken, "w");
    assert_ok(st_cond_destroy(cond));
}

static void signal_wakes_one_the_longest_waiting(void)
{
    struct waiter waiters[3] = {
        {'1', ST_UTIME_NO_TIMEOUT, 0}, {'2', ST_UTIME_NO_TIMEOUT, 0}, {'3', 1000000, 0}};

    start(waiters, 3);
    assert_ok(st_cond_signal(cond));
    assert_string_equal(woken, ""); /* a signal does not yield */
    settle();
    assert_string_equal(woken, "1");
    assert_ok(st_cond_signal(cond));
    assert_ok(st_cond_signal(cond));
    assert_ok(st_cond_signal(cond));
    settle();
    assert_string_equal(woken, "123");
    assert_int_equal(waiters[2].error, 0);
    advance_clock(2000000); /* its timer is gone */
    assert_ok(st_cond_destroy(cond));
}

static void broadcast_wakes_all_in_order(void)
{
    struct waiter waiters[10];

    for (int i = 0; i < 10; i++)
        waiters[i] = (struct waiter){(char)('0' + i), i % 2 ? ST_UTIME_NO_TIMEOUT : 5000000, -1};
    start(waiters, 10);
    assert_ok(st_cond_broadcast(cond));
    settle();
    assert_string_equal(woken, "0123456789");
    for (int i = 0; i < 10; i++)
        assert_int_equal(waiters[i].error, 0);
    assert_ok(st_cond_destroy(cond));
}

static void *wait_twice(void *arg)
{
    assert_ok(st_cond_wait(cond));
    ++*(int *)arg;
    assert_ok(st_cond_wait(cond));
    ++*(int *)arg;
    return NULL;
}

static void broadcast_reaches_only_those_that_wait(void)
{
    int count = 0;

    cond = st_cond_new();
    for (int i = 0; i < 3; i++)
        st_thread_create(wait_twice, &count, 0, 0);
    settle();
    assert_ok(st_cond_broadcast(cond));
    settle();
    assert_int_equal(count, 3);
    assert_ok(st_cond_broadcast(cond));
    settle();
    assert_int_equal(count, 6);
    assert_ok(st_cond_destroy(cond));
}

static void timeouts_fire_in_order(void)
{
    struct waiter waiters[3] = {{'c', 3000, 0}, {'a', 1000, 0}, {'b', 2000, 0}};

    start(waiters, 3);
    advance_clock(1000);
    assert_string_equal(woken, "a");
    advance_clock(2000);
    assert_string_equal(woken, "abc");
    for (int i = 0; i < 3; i++)
        assert_int_equal(waiters[i].error, ETIME);
    assert_ok(st_cond_destroy(cond)); /* who timed out is no longer in the queue */
}

static void no_wait_times_out_at_once(void)
{
    cond = st_cond_new();
    assert_fails(st_cond_timedwait(cond, ST_UTIME_NO_WAIT), ETIME);
    assert_ok(st_cond_destroy(cond));
}

/* The signal goes to a thread that still waits, not to one whose timeout fired before. */
static void a_signal_is_not_spent_on_the_timed_out(void)
{
    struct waiter waiters[2] = {{'t', 1000, 0}, {'s', ST_UTIME_NO_TIMEOUT, -1}};

    start(waiters, 2);
    advance_clock(1000);
    assert_string_equal(woken, "t");
    assert_ok(st_cond_signal(cond));
    settle();
    assert_string_equal(woken, "ts");
    assert_int_equal(waiters[0].error, ETIME);
    assert_int_equal(waiters[1].error, 0);
    assert_ok(st_cond_destroy(cond));
}

/* Signalled, and the time comes before the thread has run: it was signalled. */
static void a_signal_wins_over_a_later_timeout(void)
{
    struct waiter waiter = {'w', 1000, -1};

    start(&waiter, 1);
    assert_ok(st_cond_signal(cond));
    advance_clock(5000);
    assert_string_equal(woken, "w");
    assert_int_equal(waiter.error, 0);
    assert_ok(st_cond_destroy(cond));
}

static void an_interrupted_waiter_takes_no_signal(void)
{
    struct waiter waiters[2] = {{'i', ST_UTIME_NO_TIMEOUT, 0}, {'s', ST_UTIME_NO_TIMEOUT, -1}};
    st_thread_t first;

    cond = st_cond_new();
    first = st_thread_create(wait_and_note, &waiters[0], 0, 0);
    st_thread_create(wait_and_note, &waiters[1], 0, 0);
    settle();
    st_thread_interrupt(first);
    assert_ok(st_cond_signal(cond));
    settle();
    assert_string_equal(woken, "is");
    assert_int_equal(waiters[0].error, EINTR);
    assert_int_equal(waiters[1].error, 0);
    assert_ok(st_cond_destroy(cond));
}

static void destroy_is_refused_while_waited_on(void)
{
    struct waiter waiter = {'w', ST_UTIME_NO_TIMEOUT, 0};

    start(&waiter, 1);
    assert_fails(st_cond_destroy(cond), EBUSY);
    assert_ok(st_cond_signal(cond));
    settle();
    assert_ok(st_cond_destroy(cond));
}

/* --- the usual shapes --- */

static int ball, rounds;

static void *play(void *arg)
{
    int side = (int)(intptr_t)arg;

    for (int i = 0; i < rounds; i++) {
        while (ball != side)
            assert_ok(st_cond_wait(cond));
        ball = !side;
        assert_ok(st_cond_broadcast(cond));
    }
    return NULL;
}

static void ping_pong(void)
{
    cond = st_cond_new();
    rounds = scaled(20000);
    st_thread_t ping = st_thread_create(play, (void *)0, 1, 0);
    st_thread_t pong = st_thread_create(play, (void *)1, 1, 0);
    assert_ok(st_thread_join(ping, NULL));
    assert_ok(st_thread_join(pong, NULL));
    assert_ok(st_cond_destroy(cond));
}

enum { ITEMS = 3000 };
static int queue, produced, consumed;

static void *produce(void *arg)
{
    (void)arg;
    while (produced < ITEMS) {
        produced++;
        queue++;
        st_cond_signal(cond);
        if (produced % 7 == 0)
            st_usleep(ST_UTIME_NO_WAIT);
    }
    return NULL;
}

static void *consume(void *arg)
{
    (void)arg;
    for (;;) {
        while (queue == 0)
            if (st_cond_wait(cond) < 0)
                return NULL;
        queue--;
        consumed++;
    }
}

static void producers_and_consumers(void)
{
    st_thread_t producers[3], consumers[5];

    cond = st_cond_new();
    for (int i = 0; i < 5; i++)
        consumers[i] = st_thread_create(consume, NULL, 1, 0);
    for (int i = 0; i < 3; i++)
        producers[i] = st_thread_create(produce, NULL, 1, 0);
    for (int i = 0; i < 3; i++)
        assert_ok(st_thread_join(producers[i], NULL));
    settle();
    assert_int_equal(consumed, ITEMS);
    for (int i = 0; i < 5; i++) {
        st_thread_interrupt(consumers[i]);
        assert_ok(st_thread_join(consumers[i], NULL));
    }
    assert_ok(st_cond_destroy(cond));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(signal_without_waiters_is_lost),
        VIRTUAL_TEST(signal_wakes_one_the_longest_waiting),
        VIRTUAL_TEST(broadcast_wakes_all_in_order),
        VP_TEST(broadcast_reaches_only_those_that_wait),
        VIRTUAL_TEST(timeouts_fire_in_order),
        VP_TEST(no_wait_times_out_at_once),
        VIRTUAL_TEST(a_signal_is_not_spent_on_the_timed_out),
        VIRTUAL_TEST(a_signal_wins_over_a_later_timeout),
        VP_TEST(an_interrupted_waiter_takes_no_signal),
        VP_TEST(destroy_is_refused_while_waited_on),
        VP_TEST(ping_pong),
        VP_TEST(producers_and_consumers),
    };
    return cmocka_run_group_tests_name("cond", tests, NULL, NULL);
}
