/* SPDX-License-Identifier: Apache-2.0 */
/* The clock, its replacement, the cached time, and sleeping, all by a virtual clock where time
 * passes. */
#include "tests/vp.h"

static void utime_goes_forward(void)
{
    st_utime_t before = st_utime();

    for (int i = 0; i < 1000; i++) {
        st_utime_t now = st_utime();
        assert_true(now >= before);
        before = now;
    }
}

/* Microseconds: a sleep of 20,000 of them is seen by the clock as at least that, and is not taken
 * for ns or ms. */
static void utime_is_in_microseconds(void)
{
    st_utime_t before = st_utime();

    assert_ok(st_usleep(20000));
    assert_true(st_utime() - before >= 19000);
}

static void last_clock_is_the_last_turns_time(void)
{
    st_utime_t seen = st_utime_last_clock();

    assert_true(seen <= st_utime());
    virtual_clock += 12345;
    assert_true(st_utime_last_clock() == seen);
    settle();
    assert_true(st_utime_last_clock() == virtual_clock);
}

static void utime_function_replaces_the_clock(void)
{
    assert_ok(st_set_utime_function(read_virtual_clock));
    assert_ok(st_init());
    assert_true(st_utime() == virtual_clock);
    virtual_clock += 77;
    assert_true(st_utime() == virtual_clock);
    assert_fails(st_set_utime_function(read_virtual_clock), EINVAL);
}

static void time_is_the_systems(void)
{
    time_t before = time(NULL), now = st_time(), after = time(NULL);

    assert_true(before <= now && now <= after);
}

static void cached_time_moves_once_a_second(void)
{
    assert_int_equal(st_timecache_set(1), 0);
    assert_int_equal(st_timecache_set(1), 1);
    time_t cached = st_time();
    assert_true(time(NULL) - cached <= 2);
    advance_clock(10);
    assert_true(st_time() == cached);
    advance_clock(1500000);
    assert_true(st_time() >= cached && time(NULL) - st_time() <= 2);
    assert_int_equal(st_timecache_set(0), 1);
    assert_int_equal(st_timecache_set(0), 0);
}

/* --- sleeping --- */

static char woken[32];

struct sleeper {
    char name;
    st_utime_t us;
};

static void *sleep_and_note(void *arg)
{
    struct sleeper *sleeper = arg;

    assert_ok(st_usleep(sleeper->us));
    woken[strlen(woken)] = sleeper->name;
    return NULL;
}

static void sleepers_wake_in_order_of_their_time(void)
{
    struct sleeper sleepers[] = {{'d', 4000}, {'a', 1000}, {'c', 3000}, {'e', 5000}, {'b', 2000}};

    for (int i = 0; i < 5; i++)
        st_thread_create(sleep_and_note, &sleepers[i], 0, 0);
    settle();
    assert_string_equal(woken, "");
    advance_clock(999);
    assert_string_equal(woken, "");
    advance_clock(1);
    assert_string_equal(woken, "a");
    advance_clock(1999);
    assert_string_equal(woken, "ab");
    advance_clock(2001); /* three and more at one reading of the clock: still in order */
    assert_string_equal(woken, "abcde");
}

static void *sleep_a_second_by_st_sleep(void *arg)
{
    assert_ok(st_sleep(1));
    *(int *)arg = 1;
    return NULL;
}

static void st_sleep_counts_seconds(void)
{
    int done = 0;
    st_thread_t thread = st_thread_create(sleep_a_second_by_st_sleep, &done, 1, 0);

    settle();
    advance_clock(999999);
    assert_int_equal(done, 0);
    advance_clock(1);
    assert_int_equal(done, 1);
    assert_ok(st_thread_join(thread, NULL));
}

static void sleep_zero_lets_others_run(void)
{
    struct sleeper other = {'o', 0};

    st_thread_create(sleep_and_note, &other, 0, 0);
    assert_ok(st_sleep(0));
    settle();
    assert_string_equal(woken, "o");
}

static void *sleep_forever(void *arg)
{
    *(int *)arg = 1;
    assert_fails(st_usleep(ST_UTIME_NO_TIMEOUT), EINTR);
    *(int *)arg = 2;
    assert_fails(st_sleep(-1), EINTR);
    *(int *)arg = 3;
    return NULL;
}

static void sleep_without_timeout_needs_an_interrupt(void)
{
    int step = 0;
    st_thread_t thread = st_thread_create(sleep_forever, &step, 1, 0);

    settle();
    advance_clock(1ULL << 52); /* 142 years */
    assert_int_equal(step, 1);
    st_thread_interrupt(thread);
    settle();
    advance_clock(1ULL << 52);
    assert_int_equal(step, 2);
    st_thread_interrupt(thread);
    assert_ok(st_thread_join(thread, NULL));
    assert_int_equal(step, 3);
}

#ifndef TEST_ST19
/* deadline = now + timeout must not wrap; 1.9's does. */
static void *sleep_nearly_forever(void *arg)
{
    (void)arg;
    assert_fails(st_usleep(ST_UTIME_NO_TIMEOUT - 1), EINTR);
    return NULL;
}

static void a_huge_timeout_does_not_wrap(void)
{
    st_thread_t thread = st_thread_create(sleep_nearly_forever, NULL, 1, 0);

    settle();
    advance_clock(1000000);
    st_thread_interrupt(thread);
    assert_ok(st_thread_join(thread, NULL));
}
#endif

/* State Threads 1.9: "Timeouts are measured since the last context switch". What a thread computed
 * before may count against its timeout. */
static void *compute_then_sleep(void *arg)
{
    settle();
    virtual_clock += 700; /* no switch since: the scheduler has not seen this */
    assert_ok(st_usleep(1000));
    *(st_utime_t *)arg = virtual_clock;
    return NULL;
}

static void timeouts_count_from_the_last_switch(void)
{
    st_utime_t start = virtual_clock, end = 0;
    st_thread_t thread = st_thread_create(compute_then_sleep, &end, 1, 0);

    while (end == 0)
        advance_clock(100);
    assert_true(end >= start + 1000 && end <= start + 1800);
    assert_ok(st_thread_join(thread, NULL));
}

#ifndef TEST_ST19
/* Here it does not: the whole timeout counts from the call. */
static void timeouts_count_from_the_call(void)
{
    st_utime_t start = virtual_clock, end = 0;
    st_thread_t thread = st_thread_create(compute_then_sleep, &end, 1, 0);

    while (end == 0)
        advance_clock(100);
    assert_true(end >= start + 1700 && end <= start + 1800);
    assert_ok(st_thread_join(thread, NULL));
}

static void note_time(st_watch_t *watch, int ready)
{
    assert_int_equal(ready, 0);
    *(st_utime_t *)watch->data = virtual_clock;
}

static void a_watchs_timeout_counts_from_the_call(void)
{
    st_utime_t start, end = 0;
    st_watch_t watch;

    settle();
    start = virtual_clock;
    virtual_clock += 700;
    st_watch_init(&watch, -1, 0, note_time);
    watch.data = &end;
    assert_ok(st_watch_arm(&watch, 0, 1000));
    while (end == 0)
        advance_clock(100);
    assert_true(end >= start + 1700 && end <= start + 1800);
    st_watch_free(&watch);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(utime_goes_forward),
        VP_TEST(utime_is_in_microseconds),
        VIRTUAL_TEST(last_clock_is_the_last_turns_time),
        RAW_TEST(utime_function_replaces_the_clock),
        VP_TEST(time_is_the_systems),
        VIRTUAL_TEST(cached_time_moves_once_a_second),
        VIRTUAL_TEST(sleepers_wake_in_order_of_their_time),
        VIRTUAL_TEST(st_sleep_counts_seconds),
        VIRTUAL_TEST(sleep_zero_lets_others_run),
        VIRTUAL_TEST(sleep_without_timeout_needs_an_interrupt),
#ifndef TEST_ST19
        VIRTUAL_TEST(a_huge_timeout_does_not_wrap),
#endif
        VIRTUAL_TEST(timeouts_count_from_the_last_switch),
#ifndef TEST_ST19
        VIRTUAL_TEST(timeouts_count_from_the_call),
        VIRTUAL_TEST(a_watchs_timeout_counts_from_the_call),
#endif
    };
    return cmocka_run_group_tests_name("time", tests, NULL, NULL);
}
