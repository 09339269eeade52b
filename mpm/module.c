/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_mpm_stm: the module record, and its hooks. Everything in this MPM that httpd calls is listed
 * here.
 */
#include <http_core.h>
#include <http_protocol.h>
#include <http_request.h>

#define STM_MODULE_RECORD
#include "mpm/accept/accept.h"
#include "mpm/config/config.h"
#include "mpm/config/run_on.h"
#include "mpm/conn/conn.h"
#include "mpm/conn/kernel_request.h"
#include "mpm/pages/pages.h"
#include "mpm/process/process.h"
#include "mpm/scoreboard/scoreboard.h"
#include "mpm/stm.h"

static int check_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    int rc = stm_config_check(pconf, ptemp, s);

    (void)plog;
    if (rc == OK)
        rc = stm_score_check(ptemp, s);
    if (rc == OK && ap_exists_config_define("DUMP_STM"))
        stm_dump_config(&stm_config);
    return rc == OK ? stm_config_test_check(s) : rc;
}

static void register_hooks(apr_pool_t *p)
{
    /* Listening sockets must be open before core.c's open_logs redirects stderr. */
    static const char *const before_core[] = {"core.c", NULL};

    stm_small_file_register();
    stm_tls_record_register_hooks(p);
    stm_kernel_register_hooks();
    ap_hook_open_logs(stm_sockets_open, NULL, before_core, APR_HOOK_REALLY_FIRST);
    ap_hook_open_logs(stm_rehearsal_logs_open, before_core, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_test_config(stm_config_test_answer, NULL, NULL, APR_HOOK_REALLY_LAST);
    /* The daemon detaches in pre_config, before any other module has opened anything. */
    ap_hook_pre_config(stm_startup, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_post_config(stm_large_file_begin, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_check_config(check_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_mpm(stm_run, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_mpm_query(stm_query, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_mpm_get_name(stm_get_name, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_mpm_register_timed_callback(stm_register_timed_callback, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_insert_network_bucket(stm_insert_network_bucket, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_pre_connection(stm_pre_connection, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_pre_read_request(stm_pre_read_request, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_read_request(stm_post_read_request, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_log_transaction(stm_last_write_done, NULL, NULL, APR_HOOK_REALLY_FIRST);
    stm_slots_filter_register_hooks(p);
    stm_status_register_hooks(p);
    stm_metrics_register_hooks(p);
    stm_dashboard_register_hooks(p);
    stm_threads_register_hooks(p);
    stm_publish_register_hooks(p);
    ap_hook_insert_filter(stm_insert_filter, NULL, NULL, APR_HOOK_LAST);
    ap_hook_protocol_switch(stm_protocol_switch, NULL, NULL, APR_HOOK_REALLY_FIRST);
}

AP_DECLARE_MODULE(mpm_stm) = {
    /* MPM20_MODULE_STUFF, but with the name that the guide's <IfModule stm.c> expects. */
    MODULE_MAGIC_NUMBER_MAJOR,
    MODULE_MAGIC_NUMBER_MINOR,
    -1,
    "stm.c",
    NULL,
    NULL,
    MODULE_MAGIC_COOKIE,
    NULL, /* arguments are rewritten before any module can be loaded */
    stm_run_on_create,
    stm_run_on_merge,
    NULL, /* per-server configuration */
    NULL,
    stm_directives,
    register_hooks,
    AP_MODULE_FLAG_NONE,
};
