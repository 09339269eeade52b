/* SPDX-License-Identifier: Apache-2.0 */
/* Many timeouts at once, by the virtual clock: random order, cancelled ones, equal ones, and a
 * model to compare with. */
#include "tests/vp.h"

static st_utime_t last_woken;
static int woken;

struct sleeper {
    st_thread_t thread;
    st_utime_t timeout;
    st_utime_t due;
    int cancelled;
};

static void *sleep_until_due(void *arg)
{
    struct sleeper *me = arg;
    int result = st_usleep(me->timeout);

    if (me->cancelled) {
        assert_int_equal(result, -1);
        assert_int_equal(errno, EINTR);
        return NULL;
    }
    assert_ok(result);
    assert_true(me->due >= last_woken);    /* in order */
    assert_true(virtual_clock >= me->due); /* not too early */
    last_woken = me->due;
    woken++;
    return NULL;
}

static struct sleeper *start(int n, unsigned seed, unsigned range)
{
    struct sleeper *sleepers = calloc((size_t)n, sizeof(*sleepers));

    for (int i = 0; i < n; i++) {
        sleepers[i].timeout = (st_utime_t)rand_r(&seed) % range + 1;
        sleepers[i].due = virtual_clock + sleepers[i].timeout;
        sleepers[i].thread = st_thread_create(sleep_until_due, &sleepers[i], 1, 16384);
        assert_non_null(sleepers[i].thread);
    }
    settle();
    return sleepers;
}

static void finish(struct sleeper *sleepers, int n)
{
    for (int i = 0; i < n; i++)
        assert_ok(st_thread_join(sleepers[i].thread, NULL));
    free(sleepers);
}

static void ten_thousand_sleepers_in_random_order(void)
{
    int n = scaled(10000);
    struct sleeper *sleepers = start(n, 7, 1000000);

    assert_int_equal(woken, 0);
    for (int step = 0; step < 1000; step++) {
        int expected = 0;

        advance_clock(1000);
        if (step % 50 == 0) { /* none too late */
            for (int i = 0; i < n; i++)
                expected += sleepers[i].due <= virtual_clock;
            assert_int_equal(woken, expected);
        }
    }
    assert_int_equal(woken, n);
    finish(sleepers, n);
}

static void all_at_one_look_at_the_clock(void)
{
    int n = scaled(10000);
    struct sleeper *sleepers = start(n, 11, 1000000);

    advance_clock(1000000);
    settle();
    assert_int_equal(woken, n);
    finish(sleepers, n);
}

static void many_of_the_same_time(void)
{
    int n = scaled(5000);
    struct sleeper *sleepers = start(n, 13, 3); /* 1, 2 or 3 us */

    advance_clock(3);
    settle();
    assert_int_equal(woken, n);
    finish(sleepers, n);
}

static void two_thirds_are_cancelled(void)
{
    int n = scaled(9000), cancelled = 0;
    struct sleeper *sleepers = start(n, 17, 1000000);

    for (int i = 0; i < n; i++)
        if (i % 3) {
            sleepers[i].cancelled = 1;
            cancelled++;
            st_thread_interrupt(sleepers[i].thread);
        }
    settle();
    for (int step = 0; step < 100; step++)
        advance_clock(10000);
    assert_int_equal(woken, n - cancelled);
    finish(sleepers, n);
}

/* --- against a model --- */

enum { THREADS = 200 };

struct waiter {
    st_thread_t thread;
    st_cond_t cond;
    st_utime_t timeout;  /* of the next wait; 0: end */
    st_utime_t deadline; /* the model: when it must time out; 0: it does not wait */
    int timeouts, signals;
};

static void *wait_again_and_again(void *arg)
{
    struct waiter *me = arg;

    while (me->timeout != 0) {
        if (st_cond_timedwait(me->cond, me->timeout) == 0) {
            me->signals++;
        } else {
            assert_int_equal(errno, ETIME);
            me->timeouts++;
            assert_true(virtual_clock >= me->deadline);
        }
        me->deadline = 0;
        assert_ok(st_thread_park(ST_UTIME_NO_TIMEOUT)); /* until the test has set the next */
    }
    return NULL;
}

static void arm(struct waiter *waiter, unsigned *seed)
{
    waiter->timeout = (st_utime_t)(rand_r(seed) % 5000) + 1;
    waiter->deadline = virtual_clock + waiter->timeout;
}

/* Random waits, signals and steps of the clock; after each step, exactly the threads predicted by
 * the model have finished. */
static void random_operations_agree_with_a_model(void)
{
    static struct waiter waiters[THREADS];
    unsigned seed = 19;
    int steps = scaled(3000);

    for (int i = 0; i < THREADS; i++) {
        waiters[i].cond = st_cond_new();
        arm(&waiters[i], &seed);
        waiters[i].thread = st_thread_create(wait_again_and_again, &waiters[i], 1, 16384);
    }
    settle();
    for (int step = 0; step < steps; step++) {
        for (int k = 0; k < 10; k++) {
            struct waiter *waiter = &waiters[rand_r(&seed) % THREADS];

            if (waiter->deadline == 0) {
                arm(waiter, &seed);
                st_thread_unpark(waiter->thread);
            } else if (rand_r(&seed) % 3 == 0) {
                int signals = waiter->signals;

                settle(); /* it waits by now */
                st_cond_signal(waiter->cond);
                settle();
                assert_int_equal(waiter->signals, signals + 1);
            }
        }
        settle();
        advance_clock((st_utime_t)(rand_r(&seed) % 300));
        for (int i = 0; i < THREADS; i++)
            assert_true(waiters[i].deadline == 0 || waiters[i].deadline > virtual_clock);
    }
    for (int i = 0; i < THREADS; i++) {
        st_utime_t wait =
            waiters[i].deadline > virtual_clock ? waiters[i].deadline - virtual_clock : 0;

        waiters[i].timeout = 0;
        advance_clock(wait);
        assert_int_equal(waiters[i].deadline, 0);
        st_thread_unpark(waiters[i].thread);
        assert_ok(st_thread_join(waiters[i].thread, NULL));
        assert_true(steps < 1000 || (waiters[i].timeouts > 0 && waiters[i].signals > 0));
        assert_ok(st_cond_destroy(waiters[i].cond));
    }
}

/* --- events and timeouts after a long turn --- */

enum { WAITERS = 600 }; /* more than one visit to epoll brings */

static int pairs[WAITERS][2], in_time;

static void *wait_for_byte(void *arg)
{
    if (st_fd_wait(*(int *)arg, POLLIN, 1000) == POLLIN)
        in_time++;
    return NULL;
}

/* All are overdue, and the bytes for all have arrived: none may miss its own. */
static void what_has_come_wins_over_what_is_due(void)
{
    st_thread_t threads[WAITERS];

    for (int i = 0; i < WAITERS; i++) {
        socket_pair(pairs[i], true);
        threads[i] = st_thread_create(wait_for_byte, &pairs[i][0], 1, 16384);
    }
    settle();
    for (int i = 0; i < WAITERS; i++)
        assert_int_equal(write(pairs[i][1], "x", 1), 1);
    virtual_clock += 5000;
    for (int i = 0; i < WAITERS; i++)
        assert_ok(st_thread_join(threads[i], NULL));
    assert_int_equal(in_time, WAITERS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VIRTUAL_TEST(ten_thousand_sleepers_in_random_order),
        VIRTUAL_TEST(all_at_one_look_at_the_clock),
        VIRTUAL_TEST(many_of_the_same_time),
        VIRTUAL_TEST(two_thirds_are_cancelled),
        VIRTUAL_TEST(random_operations_agree_with_a_model),
        VIRTUAL_TEST(what_has_come_wins_over_what_is_due),
    };
    return cmocka_run_group_tests_name("timer", tests, NULL, NULL);
}
