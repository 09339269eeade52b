/* SPDX-License-Identifier: Apache-2.0 */
/* st_thread_park and st_thread_unpark: the token, timeouts, interrupts, and what meets in one
 * turn. */
#include "tests/vp.h"

#define FOREVER ST_UTIME_NO_TIMEOUT

static void a_token_answers_at_once(void)
{
    st_thread_unpark(st_thread_self());
    assert_ok(st_thread_park(FOREVER));
    assert_fails(st_thread_park(ST_UTIME_NO_WAIT), ETIME);
}

static void there_is_never_more_than_one_token(void)
{
    for (int i = 0; i < 5; i++)
        st_thread_unpark(st_thread_self());
    assert_ok(st_thread_park(FOREVER));
    assert_fails(st_thread_park(1000), ETIME);
}

static void the_token_wins_over_timeout_and_interrupt(void)
{
    st_thread_unpark(st_thread_self());
    assert_ok(st_thread_park(ST_UTIME_NO_WAIT));
    st_thread_unpark(st_thread_self());
    st_thread_interrupt(st_thread_self());
    assert_ok(st_thread_park(FOREVER));
    assert_fails(st_thread_park(FOREVER), EINTR); /* it was kept */
}

struct parker {
    st_utime_t timeout;
    int parks; /* how many in a row */
    int done;
    int error; /* of the last */
};

static void *park(void *arg)
{
    struct parker *parker = arg;

    for (int i = 0; i < parker->parks; i++) {
        parker->error = st_thread_park(parker->timeout) == 0 ? 0 : errno;
        parker->done++;
    }
    return NULL;
}

static void unpark_wakes_and_does_not_yield(void)
{
    struct parker parker = {FOREVER, 3, 0, -1};
    st_thread_t thread = st_thread_create(park, &parker, 1, 0);

    for (int i = 0; i < 3; i++) {
        settle();
        assert_int_equal(parker.done, i);
        st_thread_unpark(thread);
        assert_int_equal(parker.done, i);
    }
    assert_ok(st_thread_join(thread, NULL));
    assert_int_equal(parker.error, 0);
}

/* The thread is ready already when the second unpark comes: it is the same wakeup, and leaves
 * nothing behind. */
static void two_unparks_before_it_runs_are_one(void)
{
    struct parker parker = {FOREVER, 2, 0, -1};
    st_thread_t thread = st_thread_create(park, &parker, 1, 0);

    settle();
    st_thread_unpark(thread);
    st_thread_unpark(thread);
    settle();
    assert_int_equal(parker.done, 1);
    st_thread_unpark(thread);
    assert_ok(st_thread_join(thread, NULL));
    assert_int_equal(parker.error, 0);
}

static void unpark_before_the_first_run(void)
{
    struct parker parker = {FOREVER, 1, 0, -1};
    st_thread_t thread = st_thread_create(park, &parker, 1, 0);

    st_thread_unpark(thread);
    assert_ok(st_thread_join(thread, NULL));
    assert_int_equal(parker.error, 0);
}

static void interrupt_wakes(void)
{
    struct parker parker = {FOREVER, 1, 0, -1};
    st_thread_t thread = st_thread_create(park, &parker, 1, 0);

    settle();
    st_thread_interrupt(thread);
    assert_ok(st_thread_join(thread, NULL));
    assert_int_equal(parker.error, EINTR);
}

/* --- by the virtual clock --- */

static void timeout_at_its_time(void)
{
    struct parker parker = {1000, 1, 0, -1};
    st_thread_t thread = st_thread_create(park, &parker, 1, 0);

    settle();
    advance_clock(999);
    assert_int_equal(parker.done, 0);
    advance_clock(1);
    assert_int_equal(parker.done, 1);
    assert_int_equal(parker.error, ETIME);
    assert_ok(st_thread_join(thread, NULL));
}

static void an_unpark_ends_the_timer(void)
{
    struct parker parker = {1000, 2, 0, -1};
    st_thread_t thread = st_thread_create(park, &parker, 1, 0);

    settle();
    advance_clock(600);
    st_thread_unpark(thread);
    settle();
    assert_int_equal(parker.done, 1);
    advance_clock(600); /* the first park's time would be over, the second's is not */
    assert_int_equal(parker.done, 1);
    advance_clock(600);
    assert_int_equal(parker.error, ETIME);
    assert_ok(st_thread_join(thread, NULL));
}

/* Unparked, and the timeout passes before it has run: it counts as unparked. Nothing is left over
 * for the next park. */
static void unpark_then_timeout(void)
{
    struct parker parker = {1000, 2, 0, -1};
    st_thread_t thread = st_thread_create(park, &parker, 1, 0);

    settle();
    st_thread_unpark(thread);
    virtual_clock += 1000;
    st_thread_yield();
    assert_int_equal(parker.done, 1);
    assert_int_equal(parker.error, 0);
    advance_clock(1000);
    assert_int_equal(parker.done, 2);
    assert_int_equal(parker.error, ETIME);
    assert_ok(st_thread_join(thread, NULL));
}

/* --- a queue on top of it --- */

enum { STAGES = 50 };
static st_thread_t stages[STAGES + 1];
static int passed[STAGES], laps;

static void *stage(void *arg)
{
    intptr_t me = (intptr_t)arg;

    for (int i = 0; i < laps; i++) {
        assert_ok(st_thread_park(FOREVER));
        passed[me]++;
        st_thread_unpark(stages[me + 1]);
    }
    return NULL;
}

static void a_ring_of_threads(void)
{
    laps = scaled(200);
    for (intptr_t i = 0; i < STAGES; i++)
        stages[i] = st_thread_create(stage, (void *)i, 1, 0);
    stages[STAGES] = st_thread_self();
    for (int lap = 0; lap < laps; lap++) {
        st_thread_unpark(stages[0]);
        assert_ok(st_thread_park(FOREVER));
        assert_int_equal(passed[STAGES - 1], lap + 1);
    }
    for (int i = 0; i < STAGES; i++)
        assert_ok(st_thread_join(stages[i], NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(a_token_answers_at_once),
        VP_TEST(there_is_never_more_than_one_token),
        VP_TEST(the_token_wins_over_timeout_and_interrupt),
        VP_TEST(unpark_wakes_and_does_not_yield),
        VP_TEST(two_unparks_before_it_runs_are_one),
        VP_TEST(unpark_before_the_first_run),
        VP_TEST(interrupt_wakes),
        VIRTUAL_TEST(timeout_at_its_time),
        VIRTUAL_TEST(an_unpark_ends_the_timer),
        VIRTUAL_TEST(unpark_then_timeout),
        VP_TEST(a_ring_of_threads),
    };
    return cmocka_run_group_tests_name("park", tests, NULL, NULL);
}
