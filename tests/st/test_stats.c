/* SPDX-License-Identifier: Apache-2.0 */
/* The VP's statistics, and the turn callback. */
#include "tests/vp.h"

#include <sched.h>

#define FOREVER ST_UTIME_NO_TIMEOUT

static st_stats_t now(void)
{
    st_stats_t stats;

    st_get_stats(&stats);
    return stats;
}

static void *sleep_some(void *arg)
{
    (void)st_usleep(*(st_utime_t *)arg);
    return NULL;
}

static void threads_are_counted(void)
{
    st_utime_t forever = FOREVER;
    st_thread_t threads[5];

    assert_int_equal(now().threads, 1);
    assert_int_equal(now().threads_created, 0);
    for (int i = 0; i < 5; i++)
        threads[i] = st_thread_create(sleep_some, &forever, 1, 0);
    assert_int_equal(now().threads, 6);
    assert_int_equal(now().threads_created, 5);
    assert_int_equal(now().runq, 5);
    settle();
    assert_int_equal(now().runq, 0);
    for (int i = 0; i < 5; i++) {
        st_thread_interrupt(threads[i]);
        assert_ok(st_thread_join(threads[i], NULL));
    }
    assert_int_equal(now().threads, 1);
    assert_int_equal(now().threads_exited, 5);
    assert_int_equal(now().threads_peak, 6);
}

static void *read_byte(void *arg)
{
    char byte;

    assert_int_equal(st_read(arg, &byte, 1, FOREVER), 1);
    return NULL;
}

static void waiting_and_events_are_counted(void)
{
    int osfd;
    st_netfd_t netfd = netfd_half(&osfd);
    st_thread_t thread = st_thread_create(read_byte, netfd, 1, 0);

    settle();
    assert_int_equal(now().waiting_fds, 1);
    unsigned long long events = now().events;
    assert_int_equal(write(osfd, "e", 1), 1);
    assert_ok(st_thread_join(thread, NULL));
    assert_int_equal(now().waiting_fds, 0);
    assert_true(now().events > events);
    assert_ok(st_netfd_close(netfd));
    close(osfd);
}

static void timers_are_counted(void)
{
    st_utime_t some = 1000;
    st_thread_t thread = st_thread_create(sleep_some, &some, 1, 0);

    settle();
    assert_int_equal(now().timers_fired, 0);
    advance_clock(1000);
    assert_int_equal(now().timers_fired, 1);
    assert_ok(st_thread_join(thread, NULL));
}

static void switches_and_turns_go_on(void)
{
    st_stats_t before = now(), after;
    unsigned long long sum = 0;

    for (int i = 0; i < 1000; i++)
        st_thread_yield();
    after = now();
    assert_true(after.switches >= before.switches + 1000);
    assert_true(after.turns > before.turns);
    for (int i = 0; i < 16; i++)
        sum += after.turn_histogram[i];
    assert_int_equal(sum, after.turns);
}

/* --- the length of a turn, by the virtual clock --- */

static st_utime_t longest_held;

static void on_turn(st_utime_t held)
{
    if (held > longest_held)
        longest_held = held;
}

static void a_long_turn_is_told_and_sorted(void)
{
    static const struct {
        st_utime_t held;
        int bucket; /* under 2^(bucket + 6) us */
    } cases[] = {{1, 0},    {63, 0},      {64, 1},       {127, 1},      {128, 2},     {1023, 4},
                 {1024, 5}, {100000, 11}, {1048575, 14}, {1048576, 15}, {1 << 30, 15}};

    settle();
    assert_null(st_set_turn_cb(on_turn));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        st_stats_t before = now(), after;

        longest_held = 0;
        advance_clock(cases[i].held); /* as if a thread had computed for so long */
        after = now();
        assert_true(longest_held == cases[i].held);
        if (cases[i].bucket > 0)
            assert_int_equal(after.turn_histogram[cases[i].bucket],
                             before.turn_histogram[cases[i].bucket] + 1);
        else
            assert_true(after.turn_histogram[0] > before.turn_histogram[0]);
        assert_true(after.longest_turn >= cases[i].held);
    }
    assert_true(now().longest_turn == 1 << 30);
    assert_true(st_set_turn_cb(NULL) == on_turn);
    longest_held = 0;
    advance_clock(5000);
    assert_true(longest_held == 0);
    assert_null(st_set_turn_cb(NULL));
}

/* --- sleep is not work --- */

static int sleeps(pid_t tid)
{
    char path[64], state = 0;
    FILE *stat;

    snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)tid);
    stat = fopen(path, "r");
    assert_non_null(stat);
    assert_int_equal(fscanf(stat, "%*d (%*[^)]) %c", &state), 1);
    fclose(stat);
    return state == 'S';
}

/* Once the VP sleeps in epoll; and ten seconds pass. */
static void after_ten_seconds(wakeup_t *wakeup)
{
    while (!sleeps(wakeup->tid))
        sched_yield();
    virtual_clock += 10000000;
}

static void sleep_is_not_counted_as_work(void)
{
    wakeup_t wakeup = wakeup_here();

    settle();
    assert_null(st_set_turn_cb(on_turn));
    park_until_woken(&wakeup, FOREVER, after_ten_seconds);
    assert_true(longest_held == 0);
    assert_true(now().longest_turn == 0);
    st_set_turn_cb(NULL);
}

static int told[8], told_count;

static void on_sleep(int asleep)
{
    assert_true(st_in_callback());
    if (told_count < 8)
        told[told_count++] = asleep;
}

static void sleep_is_told(void)
{
    wakeup_t wakeup = wakeup_here();

    assert_null(st_set_sleep_cb(on_sleep));
    for (int i = 0; i < 100; i++)
        st_thread_yield();
    assert_int_equal(told_count, 0); /* it visited epoll now and then, but did not wait */
    park_until_woken(&wakeup, FOREVER, after_ten_seconds);
    assert_true(told_count >= 2);
    for (int i = 0; i < told_count; i++)
        assert_int_equal(told[i], i % 2 == 0);
    assert_true(st_set_sleep_cb(NULL) == on_sleep);
    told_count = 0;
    (void)st_usleep(1000);
    assert_int_equal(told_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(threads_are_counted),
        VP_TEST(waiting_and_events_are_counted),
        VIRTUAL_TEST(timers_are_counted),
        VP_TEST(switches_and_turns_go_on),
        VIRTUAL_TEST(a_long_turn_is_told_and_sorted),
        VIRTUAL_TEST(sleep_is_not_counted_as_work),
        VP_TEST(sleep_is_told),
    };
    return cmocka_run_group_tests_name("stats", tests, NULL, NULL);
}
