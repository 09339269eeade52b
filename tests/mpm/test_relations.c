/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Relations between the directives (config/config.c, stm_config_check): combinations that make no
 * sense are corrected and logged, a default never causes a warning, and impossible ones are
 * refused.
 */
#include "mpm/config/config.h"
#include "tests/harness.h"
#include "tests/mpm/httpd.h"

enum { UNSET = STM_UNSET };

static ap_listen_rec sockets[STM_LISTENER_LIMIT + 1];

static void begin(int listeners)
{
    stm_config_begin();
    for (int i = 0; i < listeners; i++)
        sockets[i].next = i + 1 < listeners ? &sockets[i + 1] : NULL;
    ap_listeners = listeners > 0 ? &sockets[0] : NULL;
    forget_log();
}

static int check(void)
{
    return stm_config_check(test_pool(), test_pool(), NULL);
}

typedef struct numbers {
    int start, min, max, threads;
} numbers_t;

static void set(const numbers_t *numbers)
{
    stm_config.start_threads = numbers->start;
    stm_config.min_spare = numbers->min;
    stm_config.max_spare = numbers->max;
    stm_config.max_threads = numbers->threads;
}

static void assert_numbers(const numbers_t *wanted)
{
    assert_int_equal(stm_config.start_threads, wanted->start);
    assert_int_equal(stm_config.min_spare, wanted->min);
    assert_int_equal(stm_config.max_spare, wanted->max);
    assert_int_equal(stm_config.max_threads, wanted->threads);
}

/* What was set and what is in effect, with so many listening sockets; and the one directive that is
 * complained of, or NULL. */
static void numbers_of_threads(void)
{
    static const struct {
        int listeners;
        numbers_t set, effect;
        const char *complaint;
    } cases[] = {
        /* Defaults, also where there is little room: no complaint. */
        {1, {UNSET, UNSET, UNSET, UNSET}, {5, 5, 10, 64}, NULL},
        {0, {UNSET, UNSET, UNSET, UNSET}, {5, 5, 10, 64}, NULL},
        {2, {UNSET, UNSET, UNSET, 16}, {5, 5, 8, 16}, NULL},
        {2, {UNSET, UNSET, UNSET, 6}, {3, 3, 3, 6}, NULL},
        {4, {UNSET, UNSET, UNSET, 4}, {1, 1, 1, 4}, NULL},
        /* What is not set follows what is. */
        {1, {UNSET, UNSET, 3, UNSET}, {5, 3, 3, 64}, NULL},
        {1, {UNSET, 20, UNSET, UNSET}, {5, 20, 20, 64}, NULL},
        {1, {UNSET, UNSET, 30, UNSET}, {5, 5, 30, 64}, NULL},
        /* All that fits stays. */
        {1, {8, 2, 8, 8}, {8, 2, 8, 8}, NULL},
        {2, {4, 4, 4, 8}, {4, 4, 4, 8}, NULL},
        /* One that does not. */
        {1, {9, 2, 8, 8}, {8, 2, 8, 8}, "StartThreads"},
        {2, {5, 4, 4, 8}, {4, 4, 4, 8}, "StartThreads"},
        {1, {1, 2, 9, 8}, {1, 2, 8, 8}, "MaxSpareThreads"},
        {1, {1, 4, 3, 8}, {1, 4, 4, 8}, "MaxSpareThreads"},
        {1, {1, 0, 0, 8}, {1, 0, 0, 8}, NULL},
        {3, {1, 1, 1, 2}, {1, 1, 1, 3}, "MaxThreads"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        begin(cases[i].listeners);
        set(&cases[i].set);
        assert_int_equal(check(), OK);
        assert_numbers(&cases[i].effect);
        assert_int_equal(log_lines(), !!cases[i].complaint);
        assert_true(!cases[i].complaint || logged(cases[i].complaint));
    }
}

static void each_number_that_is_too_large_is_named(void)
{
    const numbers_t wrong = {50, 60, 70, 8}, right = {8, 8, 8, 8};

    begin(1);
    set(&wrong);
    assert_int_equal(check(), OK);
    assert_numbers(&right);
    assert_int_equal(log_lines(), 3);
    assert_true(logged("StartThreads of 50"));
    assert_true(logged("MinSpareThreads of 60"));
    assert_true(logged("MaxSpareThreads of 70"));
}

static void other_defaults(void)
{
    begin(1);
    ap_max_requests_per_child = 1234; /* MaxConnectionsPerChild */
    ap_thread_stacksize = 0;
    assert_int_equal(check(), OK);
    assert_int_equal(stm_config.num_vps, 4);
    assert_int_equal(stm_config.vp_connections, 1234);
    assert_int_equal(stm_config.stack_size, 65536);
    begin(1);
    ap_thread_stacksize = 99999; /* ThreadStackSize */
    stm_config.vp_connections = 5;
    assert_int_equal(check(), OK);
    assert_int_equal(stm_config.stack_size, 99999);
    assert_int_equal(stm_config.vp_connections, 5);
    assert_int_equal(ap_max_requests_per_child, 5); /* what httpd shows */
    begin(1);
    stm.one_process = true;
    stm_config.num_vps = 8;
    assert_int_equal(check(), OK);
    assert_int_equal(stm_config.num_vps, 1);
}

static void a_restart_respects_the_scoreboard(void)
{
    static const stm_limits_t limits = {.seats = 3, .threads = 20};

    stm.limits = &limits;
    begin(1);
    stm_config.num_vps = 4;
    stm_config.max_threads = 21;
    assert_int_equal(check(), OK);
    assert_int_equal(stm_config.num_vps, 3);
    assert_int_equal(stm_config.max_threads, 20);
    assert_true(logged("NumVPs of 4") && logged("MaxThreads of 21"));
    begin(1);
    stm_config.num_vps = 3;
    stm_config.max_threads = 20;
    assert_int_equal(check(), OK);
    assert_int_equal(log_lines(), 0);
}

/* The product of both limits is what mod_status prints in one line. */
static void slots_fit_a_line(void)
{
    static const struct {
        int vps, threads, seats, slots;
    } cases[] = {
        {1, 64, 4, 64},
        {4, 4096, 8, 4096},
        {64, 4096, 128, STM_SLOTS_ALL / 128},
        {STM_VP_LIMIT, STM_ST_LIMIT, STM_VP_LIMIT, STM_SLOTS_ALL / STM_VP_LIMIT},
    };

    static const stm_limits_t none;

    stm.limits = &none;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        stm_limits_t limits;

        begin(1);
        stm_config.num_vps = cases[i].vps;
        stm_config.max_threads = cases[i].threads;
        assert_int_equal(check(), OK);
        limits = stm_config_limits();
        assert_int_equal(limits.seats, cases[i].seats);
        assert_int_equal(limits.threads, cases[i].threads);
        assert_int_equal(limits.slots, cases[i].slots);
    }
}

static void slots_do_not_bound_threads(void)
{
    static const stm_limits_t earlier_builds = {.seats = 128, .slots = STM_SLOTS_ALL / 128};

    stm.limits = &earlier_builds;
    begin(1);
    stm_config.max_threads = 4096;
    assert_int_equal(check(), OK);
    assert_int_equal(stm_config.max_threads, 4096);
    assert_int_equal(log_lines(), 0);
    assert_int_equal(stm_config_limits().slots, STM_SLOTS_ALL / 128);
}

static void bindings_name_vps_that_there_are(void)
{
    begin(1);
    stm_config.num_vps = 2;
    stm_config.binds = 2; /* VP 1 */
    assert_int_equal(check(), OK);
    begin(1);
    stm_config.num_vps = 2;
    stm_config.binds = 3;
    assert_int_not_equal(check(), OK);
    assert_true(logged("VPBind") && logged("VP-ID 2") && logged("(1)"));
    begin(1);
    stm_config.num_vps = 2;
    stm_config.vp_listens = 1;
    stm_config.vp_listen_max = 3;
    assert_int_not_equal(check(), OK);
    assert_true(logged("VPListen") && logged("VP-ID 2"));
}

static void each_vp_listens_or_none_is_bound(void)
{
    static struct stm_vp_listen bound[2];

    begin(2);
    stm_config.num_vps = 3;
    stm_config.vp_listens = stm_config.addresses = 2;
    stm_config.vp_listen_max = 3;
    stm_config.vp_listen = bound;
    bound[0].vps[0] = 1 << 0;
    bound[1].vps[0] = 1 << 2;
    assert_int_not_equal(check(), OK);
    assert_true(logged("VP 1 has no listener"));
    bound[1].vps[0] |= 1 << 1;
    assert_int_equal(check(), OK);
}

static void too_many_sockets_are_refused(void)
{
    begin(STM_LISTENER_LIMIT);
    assert_int_equal(check(), OK);
    begin(STM_LISTENER_LIMIT + 1);
    assert_int_not_equal(check(), OK);
    assert_true(logged("STM_LISTENER_LIMIT"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RAW_TEST(numbers_of_threads),
        RAW_TEST(each_number_that_is_too_large_is_named),
        RAW_TEST(other_defaults),
        RAW_TEST(a_restart_respects_the_scoreboard),
        RAW_TEST(slots_fit_a_line),
        RAW_TEST(slots_do_not_bound_threads),
        RAW_TEST(bindings_name_vps_that_there_are),
        RAW_TEST(each_vp_listens_or_none_is_bound),
        RAW_TEST(too_many_sockets_are_refused),
    };
    return cmocka_run_group_tests_name("relations", tests, NULL, NULL);
}
