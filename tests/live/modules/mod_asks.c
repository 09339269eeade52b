/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An ordinary httpd module for tests/live/test_queries.py: asks for MaxThreads when a VP starts, as
 * mod_http2 does, from a function of that module's name and from one of another name, and logs the
 * answers.
 */
#include <httpd.h>
#include <http_config.h>
#include <http_log.h>
#include <ap_mpm.h>

module AP_MODULE_DECLARE_DATA asks_module;

/* Global, so that they have names, as those of modules that are linked into httpd have. */
int h2_asks_child_init(void);
int other_asks_child_init(void);

static __attribute__((noinline)) int ask(void)
{
    int threads = -1;

    (void)ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads);
    __asm__ volatile("" ::: "memory");
    return threads;
}

__attribute__((noinline)) int h2_asks_child_init(void)
{
    int threads = ask();

    __asm__ volatile("" ::: "memory");
    return threads;
}

__attribute__((noinline)) int other_asks_child_init(void)
{
    int threads = ask();

    __asm__ volatile("" ::: "memory");
    return threads;
}

static void child_init(apr_pool_t *pool, server_rec *server)
{
    (void)pool;
    ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, server, "asks: h2 %d, others %d",
                 h2_asks_child_init(), other_asks_child_init());
}

static void register_hooks(apr_pool_t *pool)
{
    (void)pool;
    ap_hook_child_init(child_init, NULL, NULL, APR_HOOK_MIDDLE);
}

module AP_MODULE_DECLARE_DATA asks_module = {
    STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, register_hooks, 0,
};
