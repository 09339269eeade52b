/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What other MPMs' directives mean here (config/migrate.c), and what is logged of it.
 */
#include "mpm/config/config.h"
#include "tests/harness.h"
#include "tests/mpm/httpd.h"

static void begin(void)
{
    stm_config_begin();
}

static int max_threads(void)
{
    stm_migrate(&stm_config, test_pool());
    return stm_config.max_threads;
}

static void request_workers_are_shared_out(void)
{
    static const struct {
        int workers, vps, each;
    } cases[] = {{400, 4, 100}, {401, 4, 101},         {1, 4, 1},
                 {3, 4, 1},     {400, STM_UNSET, 100}, {400, 1, 400}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        begin();
        stm_config.max_request_workers = cases[i].workers;
        stm_config.num_vps = cases[i].vps;
        assert_int_equal(max_threads(), cases[i].each);
    }
}

static void no_vp_gets_more_than_the_limit(void)
{
    begin();
    stm_config.max_request_workers = INT32_MAX;
    stm_config.num_vps = 2;
    assert_int_equal(max_threads(), STM_ST_LIMIT);
    begin();
    stm_config.threads_per_child = INT32_MAX;
    stm_config.server_limit = INT32_MAX;
    assert_int_equal(max_threads(), STM_ST_LIMIT);
    assert_int_equal(stm_config.server_limit, STM_VP_LIMIT);
}

static void max_threads_counts_before_request_workers(void)
{
    begin();
    stm_config.max_request_workers = 400;
    stm_config.max_threads = 7;
    assert_int_equal(max_threads(), 7);
    stm_migrate_log(NULL);
    assert_int_equal(log_lines(), 1);
    assert_true(logged("MaxRequestWorkers 400"));
    assert_true(logged("MaxThreads 7"));
}

static void threads_per_child_counts_for_all_processes(void)
{
    begin();
    stm_config.threads_per_child = 25;
    stm_config.num_vps = 4;
    assert_int_equal(max_threads(), 25 * 16 / 4);
    begin();
    stm_config.threads_per_child = 25;
    stm_config.server_limit = 3;
    stm_config.num_vps = 2;
    assert_int_equal(max_threads(), 38);
    begin();
    stm_config.threads_per_child = 25;
    stm_config.max_request_workers = 40; /* says it better */
    stm_config.num_vps = 4;
    assert_int_equal(max_threads(), 10);
    begin();
    stm_config.threads_per_child = 25;
    stm_config.max_threads = 7;
    assert_int_equal(max_threads(), 7);
}

static void what_has_no_effect_is_said(void)
{
    begin();
    stm_config.start_servers = 5;
    stm_config.min_spare_servers = 6;
    stm_config.max_spare_servers = 11;
    assert_int_equal(max_threads(), STM_UNSET);
    stm_migrate_log(NULL);
    assert_int_equal(log_lines(), 3);
    assert_true(logged("StartServers 5 has no effect"));
    assert_true(logged("MinSpareServers 6 has no effect"));
    assert_true(logged("MaxSpareServers 11 has no effect"));
}

static void nothing_is_said_of_a_configuration_of_our_own(void)
{
    begin();
    stm_config.num_vps = 3;
    stm_config.max_threads = 9;
    assert_int_equal(max_threads(), 9);
    stm_migrate_log(NULL);
    assert_int_equal(log_lines(), 0);
}

static void limits_are_kept_within_what_there_can_be(void)
{
    begin();
    stm_config.server_limit = STM_VP_LIMIT + 1;
    stm_config.thread_limit = STM_ST_LIMIT + 1;
    stm_migrate(&stm_config, test_pool());
    assert_int_equal(stm_config.server_limit, STM_VP_LIMIT);
    assert_int_equal(stm_config.thread_limit, STM_ST_LIMIT);
    begin();
    stm_config.server_limit = stm_config.thread_limit = 2;
    stm_migrate(&stm_config, test_pool());
    assert_int_equal(stm_config.server_limit, 2);
    assert_int_equal(stm_config.thread_limit, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RAW_TEST(request_workers_are_shared_out),
        RAW_TEST(no_vp_gets_more_than_the_limit),
        RAW_TEST(max_threads_counts_before_request_workers),
        RAW_TEST(threads_per_child_counts_for_all_processes),
        RAW_TEST(what_has_no_effect_is_said),
        RAW_TEST(nothing_is_said_of_a_configuration_of_our_own),
        RAW_TEST(limits_are_kept_within_what_there_can_be),
    };
    return cmocka_run_group_tests_name("migrate", tests, NULL, NULL);
}
