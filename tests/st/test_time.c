/* SPDX-License-Identifier: Apache-2.0 */
/* The clock, its replacement, the cached time, and sleeping, all by a virtual clock where time
 * passes. */
#include "tests/st/unit.h"

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
    unit_clock += 12345;
    assert_true(st_utime_last_clock() == seen);
    unit_settle();
    assert_true(st_utime_last_clock() == unit_clock);
}

static void utime_function_replaces_the_clock(void)
{
    assert_ok(st_set_utime_function(unit_clock_read));
    assert_ok(st_init());
    assert_true(st_utime() == unit_clock);
    unit_clock += 77;
    assert_true(st_utime() == unit_clock);
    assert_fails(st_set_utime_function(unit_clock_read), EINVAL);
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
    unit_advance(10);
    assert_true(st_time() == cached);
    unit_advance(1500000);
    assert_true(st_time() >= cached && time(NULL) - st_time() <= 2);
    assert_int_equal(st_timecache_set(0), 1);
    assert_int_equal(st_timecache_set(0), 0);
}

/* --- sleeping --------------------------------------------------------------------------------- */

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
    unit_settle();
    assert_string_equal(woken, "");
    unit_advance(999);
    assert_string_equal(woken, "");
    unit_advance(1);
    assert_string_equal(woken, "a");
    unit_advance(1999);
    assert_string_equal(woken, "ab");
    unit_advance(2001); /* three and more at one look at the clock: in order still */
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

    unit_settle();
    unit_advance(999999);
    assert_int_equal(done, 0);
    unit_advance(1);
    assert_int_equal(done, 1);
    assert_ok(st_thread_join(thread, NULL));
}

static void sleep_zero_lets_others_run(void)
{
    struct sleeper other = {'o', 0};

    st_thread_create(sleep_and_note, &other, 0, 0);
    assert_ok(st_sleep(0));
    unit_settle();
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

    unit_settle();
    unit_advance(1ULL << 52); /* 142 years */
    assert_int_equal(step, 1);
    st_thread_interrupt(thread);
    unit_settle();
    unit_advance(1ULL << 52);
    assert_int_equal(step, 2);
    st_thread_interrupt(thread);
    assert_ok(st_thread_join(thread, NULL));
    assert_int_equal(step, 3);
}

#ifndef UNIT_ST19
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

    unit_settle();
    unit_advance(1000000);
    st_thread_interrupt(thread);
    assert_ok(st_thread_join(thread, NULL));
}
#endif

/* State Threads 1.9: "Timeouts are measured since the last context switch". What a thread computed
 * before may count against its timeout. */
static void *compute_then_sleep(void *arg)
{
    unit_settle();
    unit_clock += 700; /* no switch since: the scheduler has not seen this */
    assert_ok(st_usleep(1000));
    *(st_utime_t *)arg = unit_clock;
    return NULL;
}

static void timeouts_count_from_the_last_switch(void)
{
    st_utime_t start = unit_clock, end = 0;
    st_thread_t thread = st_thread_create(compute_then_sleep, &end, 1, 0);

    while (end == 0)
        unit_advance(100);
    assert_true(end >= start + 1000 && end <= start + 1800);
    assert_ok(st_thread_join(thread, NULL));
}

#ifndef UNIT_ST19
/* Here it does not: it has all of its time from the call on. */
static void timeouts_count_from_the_call(void)
{
    st_utime_t start = unit_clock, end = 0;
    st_thread_t thread = st_thread_create(compute_then_sleep, &end, 1, 0);

    while (end == 0)
        unit_advance(100);
    assert_true(end >= start + 1700 && end <= start + 1800);
    assert_ok(st_thread_join(thread, NULL));
}

static void note_time(st_watch_t *watch, int ready)
{
    assert_int_equal(ready, 0);
    *(st_utime_t *)watch->data = unit_clock;
}

static void a_watchs_timeout_counts_from_the_call(void)
{
    st_utime_t start, end = 0;
    st_watch_t watch;

    unit_settle();
    start = unit_clock;
    unit_clock += 700;
    st_watch_init(&watch, -1, 0, note_time);
    watch.data = &end;
    assert_ok(st_watch_arm(&watch, 0, 1000));
    while (end == 0)
        unit_advance(100);
    assert_true(end >= start + 1700 && end <= start + 1800);
    st_watch_free(&watch);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(utime_goes_forward),
        UNIT(utime_is_in_microseconds),
        UNIT_VIRTUAL(last_clock_is_the_last_turns_time),
        UNIT_RAW(utime_function_replaces_the_clock),
        UNIT(time_is_the_systems),
        UNIT_VIRTUAL(cached_time_moves_once_a_second),
        UNIT_VIRTUAL(sleepers_wake_in_order_of_their_time),
        UNIT_VIRTUAL(st_sleep_counts_seconds),
        UNIT_VIRTUAL(sleep_zero_lets_others_run),
        UNIT_VIRTUAL(sleep_without_timeout_needs_an_interrupt),
#ifndef UNIT_ST19
        UNIT_VIRTUAL(a_huge_timeout_does_not_wrap),
#endif
        UNIT_VIRTUAL(timeouts_count_from_the_last_switch),
#ifndef UNIT_ST19
        UNIT_VIRTUAL(timeouts_count_from_the_call),
        UNIT_VIRTUAL(a_watchs_timeout_counts_from_the_call),
#endif
    };
    return cmocka_run_group_tests_name("time", tests, NULL, NULL);
}
