/* SPDX-License-Identifier: Apache-2.0 */
/* 100,000 state threads alive at once: running, waiting, woken, interrupted, ended. */
#include "tests/vp.h"

static int many, alive, through;
static st_cond_t gate;

static void need_room(void)
{
    st_stack_stats_t stats;

    many = scaled(100000);
    st_get_stack_stats(&stats);
    if (!stats.guard_install && many > 20000)
        many = 20000; /* mprotect's guards end with vm.max_map_count */
}

static st_thread_t *create(void *(*start)(void *arg))
{
    st_thread_t *threads = calloc((size_t)many, sizeof(*threads));

    for (int i = 0; i < many; i++)
        if (!(threads[i] = st_thread_create(start, (void *)(intptr_t)i, 1, 16384)))
            fail_msg("thread %d: %s", i, strerror(errno));
    return threads;
}

static void join(st_thread_t *threads)
{
    for (int i = 0; i < many; i++) {
        void *value = NULL;

        assert_ok(st_thread_join(threads[i], &value));
        assert_int_equal((intptr_t)value, i);
    }
    free(threads);
}

static void *wait_at_the_gate(void *arg)
{
    volatile char mine[256];

    alive++;
    memset((void *)(uintptr_t)mine, (int)(intptr_t)arg, sizeof(mine));
    assert_ok(st_cond_wait(gate));
    for (size_t i = 0; i < sizeof(mine); i += 17)
        assert_int_equal((unsigned char)mine[i], (intptr_t)arg & 0xff);
    through++;
    return arg;
}

static void all_alive_and_waiting_at_once(void)
{
    st_thread_t *threads;
    st_stats_t stats;
    st_stack_stats_t stacks;

    need_room();
    gate = st_cond_new();
    threads = create(wait_at_the_gate);
    while (alive < many)
        st_thread_yield();
    st_get_stats(&stats);
    assert_int_equal(stats.threads, many + 1);
    assert_int_equal(stats.threads_peak, many + 1);
    st_get_stack_stats(&stacks);
    assert_int_equal(stacks.in_use, many);
    assert_int_equal(through, 0);
    assert_ok(st_cond_broadcast(gate));
    join(threads);
    assert_int_equal(through, many);
    assert_ok(st_cond_destroy(gate));
}

static void *sleep_for_ever(void *arg)
{
    alive++;
    assert_fails(st_usleep((intptr_t)arg % 2 ? ST_UTIME_NO_TIMEOUT : 3600000000ULL), EINTR);
    through++;
    return arg;
}

static void all_interrupted(void)
{
    st_thread_t *threads;

    need_room();
    threads = create(sleep_for_ever);
    while (alive < many)
        st_thread_yield();
    assert_int_equal(through, 0);
    for (int i = many - 1; i >= 0; i--)
        st_thread_interrupt(threads[i]);
    join(threads);
    assert_int_equal(through, many);
}

static void *yield_thrice(void *arg)
{
    for (int i = 0; i < 3; i++)
        st_thread_yield();
    through++;
    return arg;
}

static void all_ready_at_once(void)
{
    st_thread_t *threads;
    st_stack_stats_t stacks;

    need_room();
    threads = create(yield_thrice);
    join(threads);
    assert_int_equal(through, many);
    st_get_stack_stats(&stacks);
    assert_int_equal(stacks.in_use, 0);
    assert_true(stacks.cached <= 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(all_alive_and_waiting_at_once),
        VP_TEST(all_interrupted),
        VP_TEST(all_ready_at_once),
    };
    return cmocka_run_group_tests_name("many", tests, NULL, NULL);
}
