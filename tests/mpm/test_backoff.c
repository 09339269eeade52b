/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a seat whose VP has died gets its next one (process/backoff.c), on a clock of the test's.
 */
#include "mpm/process/process.h"
#include "tests/harness.h"
#include "tests/mpm/httpd.h"

enum { MS = 1000, S = 1000 * MS };

static apr_time_t now = 1000 * (apr_time_t)S;
static stm_retained_t retained;
static stm_seat_t seat;

apr_time_t stm_monotonic(void)
{
    return now;
}

static void begin(void)
{
    stm_retained = &retained;
}

/* The VP has lived that long, and dies now. Returns how long (us) its successor has to wait. */
static apr_time_t dies(apr_time_t lived, bool served, bool crashed)
{
    const stm_child_t last = {.ordinal = 1, .pid = 4242, .born = now - lived};

    stm_backoff_after_death(&seat, &last, served, crashed);
    return seat.not_before > now ? seat.not_before - now : 0;
}

static void who_never_serves_waits_twice_as_long_each_time(void)
{
    static const int waits[] = {0, 100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000};

    begin();
    for (size_t i = 0; i < sizeof(waits) / sizeof(*waits); i++)
        assert_int_equal(dies(10 * MS, false, true), waits[i] * MS);
    for (int i = 0; i < 100; i++)
        assert_int_equal(dies(10 * MS, false, true), 10 * S);
    assert_int_equal(log_lines(), 9 + 100);
}

static void whoever_serves_or_lives_begins_anew(void)
{
    begin();
    for (int i = 0; i < 5; i++)
        dies(10 * MS, false, true);
    assert_int_equal(dies(10 * MS, true, true), 0);
    assert_int_equal(dies(10 * MS, false, true), 0);
    assert_int_equal(dies(10 * MS, false, true), 100 * MS);
    assert_int_equal(dies(1 * S, false, true), 0); /* has not failed at its start */
    assert_int_equal(dies(1 * S - 1, false, true), 0);
    assert_int_equal(dies(1 * S - 1, false, true), 100 * MS);
}

/* Twenty at once, then one each 100 ms. */
static void starts_are_spent_and_come_back(void)
{
    begin();
    for (int i = 0; i < 20; i++)
        assert_int_equal(dies(10 * MS, true, true), 0);
    assert_int_equal(dies(10 * MS, true, true), 100 * MS);
    now += 100 * MS;
    assert_int_equal(dies(10 * MS, true, true), 100 * MS);
    now += 2 * S;
    for (int i = 0; i < 18; i++)
        assert_int_equal(dies(10 * MS, true, true), 0);
    now += 3600 * (apr_time_t)S; /* no more than twenty are saved up */
    for (int i = 0; i < 20; i++)
        assert_int_equal(dies(10 * MS, true, true), 0);
    assert_int_equal(dies(10 * MS, true, true), 100 * MS);
}

static void a_start_that_fails_waits_longest(void)
{
    begin();
    stm_backoff_after_failure(&seat);
    assert_int_equal(seat.not_before - now, 10 * S);
}

static void requests_that_kill_are_a_crash_loop(void)
{
    begin();
    assert_false(stm_backoff_crash_loop());
    dies(60 * S, true, true);
    assert_false(stm_backoff_crash_loop()); /* one is an accident */
    now += 10 * S;
    dies(9 * S, true, true);
    assert_true(stm_backoff_crash_loop());
    assert_true(logged("VP 1"));
    now += 10 * S;
    assert_true(stm_backoff_crash_loop());
    now += 1;
    assert_false(stm_backoff_crash_loop()); /* it is over by itself */
    dies(60 * S, true, true);
    assert_false(stm_backoff_crash_loop()); /* and counts from the start */
}

static void only_requests_make_a_crash_loop(void)
{
    begin();
    for (int i = 0; i < 5; i++)
        dies(60 * S, true, false); /* killed from outside */
    for (int i = 0; i < 5; i++)
        dies(60 * S, false, true); /* had accepted nothing */
    assert_false(stm_backoff_crash_loop());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RAW_TEST(who_never_serves_waits_twice_as_long_each_time),
        RAW_TEST(whoever_serves_or_lives_begins_anew),
        RAW_TEST(starts_are_spent_and_come_back),
        RAW_TEST(a_start_that_fails_waits_longest),
        RAW_TEST(requests_that_kill_are_a_crash_loop),
        RAW_TEST(only_requests_make_a_crash_loop),
    };
    return cmocka_run_group_tests_name("backoff", tests, NULL, NULL);
}
