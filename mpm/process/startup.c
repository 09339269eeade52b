/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the master starts: finds what an earlier run has retained, and runs attached, in one process,
 * or as a daemon. This is what httpd calls first in this module, on each restart, too.
 */
#include <stdlib.h>

#include "mpm/config/config.h"
#include "mpm/process/process.h"

stm_retained_t *stm_retained;

static bool environment_asks(const char *name)
{
    return getenv(name);
}

/* How the master is to run: attached, in one process, or as a daemon. */
typedef struct {
    bool one_process, foreground, no_detach;
} stm_mode_t;

static stm_mode_t running_mode(void)
{
    stm_mode_t mode = {
        .one_process = ap_exists_config_define("ONE_PROCESS"),
        .foreground = ap_exists_config_define("FOREGROUND"),
        .no_detach = ap_exists_config_define("NO_DETACH"),
    };

    if (ap_exists_config_define("DEBUG")) /* httpd -X */
        mode.foreground = mode.one_process = true;
    if (environment_asks("ONE_PROCESS"))
        mode.one_process = true;
    if (environment_asks("STM_INTERACTIVE"))
        mode.foreground = true;
    return mode;
}

static int detach(const stm_mode_t *mode, apr_pool_t *pconf)
{
    apr_status_t rv;

    if (mode->one_process || mode->foreground)
        return OK;
    /* Before detaching from the terminal: a crash must show up in the error log. */
    ap_fatal_signal_setup(ap_server_conf, pconf);
    rv = apr_proc_detach(mode->no_detach ? APR_PROC_DETACH_FOREGROUND : APR_PROC_DETACH_DAEMONIZE);
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, rv, NULL, STMNO(0077) "apr_proc_detach failed");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    return OK;
}

int stm_startup(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp)
{
    stm_mode_t mode = running_mode();

    (void)plog;
    (void)ptemp;
    if (!stm_fits())
        return HTTP_INTERNAL_SERVER_ERROR;
    stm_trace_start();
    stm.pconf = pconf;
    stm_retained = stm_retained_get();
    stm.mpm = ap_unixd_mpm_get_retained_data();
    stm.mpm->mpm_state = AP_MPMQ_STARTING;
    stm.limits = &stm_retained->limits;
    stm.one_process = mode.one_process;

    /* httpd reads its configuration twice when it starts, and detaches between the two. */
    stm.startup = ++stm.mpm->module_loads == 1 ? APLOG_STARTUP : 0;
    if (stm.mpm->module_loads == 2) {
        int rc = detach(&mode, pconf);

        if (rc != OK)
            return rc;
    }
    stm_config_test_prepare(apr_pool_parent_get(pconf));
    ap_listen_pre_config();
    stm_config_begin();
    ap_extended_status = 0;
    return OK;
}
