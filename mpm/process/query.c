/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the MPM answers when httpd and modules query it. docs/internals/queries.md says who asks
 * what, and why these are the answers.
 */
#include <dlfcn.h>
#include <execinfo.h>

#include "mpm/accept/accept.h"
#include "mpm/config/config.h"
#include "mpm/conn/conn.h"
#include "mpm/process/process.h"

/* Workers that mod_http2 starts at once in each VP (13 KB each); it adds half as many when they are
 * busy, unless H2MaxWorkers sets the number. */
enum { HTTP2_WORKERS = 128 };

/* Whether the call in progress comes from that object: some frame above us is in it. */
static bool called_from(const char *object)
{
    void *frames[8];
    int count = backtrace(frames, 8);

    for (int i = 0; i < count; i++) {
        Dl_info info;
        const char *base;

        if (!dladdr(frames[i], &info) || !info.dli_fname)
            continue;
        base = strrchr(info.dli_fname, '/');
        if (strcmp(base ? base + 1 : info.dli_fname, object) == 0)
            return true;
    }
    return false;
}

/*
 * Modules size their own pools by this. Most only use it as a limit (mod_proxy's and the caches'
 * connections to a backend), for which the true value is right. mod_http2 starts that many workers
 * in advance: the true value would mean thousands of them.
 */
static int max_threads(void)
{
    int all = stm_config.max_threads;

    return all > HTTP2_WORKERS && called_from("mod_http2.so") ? HTTP2_WORKERS : all;
}

/* Modules ask about the connection that they are serving. */
static int state(void)
{
    const stm_conn_t *conn = stm.vp.state == STM_VP_LEAVING ? stm_thread_conn() : NULL;

    return conn && stm_goodbye_can_wait(conn) ? AP_MPMQ_RUNNING : stm.mpm->mpm_state;
}

int stm_query(int query_code, int *result, apr_status_t *rv)
{
    const stm_config_t *config = &stm_config;
    const stm_limits_t limits = stm_config_limits();

    *rv = APR_SUCCESS;
    switch (query_code) {
    case AP_MPMQ_MAX_DAEMON_USED:
        *result = stm_retained->max_daemon_used;
        break;
    case AP_MPMQ_IS_THREADED:
    case AP_MPMQ_IS_FORKED:
        *result = AP_MPMQ_STATIC;
        break;
    case AP_MPMQ_IS_ASYNC:
    case AP_MPMQ_CAN_WAITIO:
        *result = 1;
        break;
    case AP_MPMQ_HARD_LIMIT_DAEMONS:
        *result = limits.seats;
        break;
    case AP_MPMQ_HARD_LIMIT_THREADS:
        *result = limits.slots;
        break;
    case AP_MPMQ_MAX_THREADS:
        *result = max_threads();
        break;
    case AP_MPMQ_MIN_SPARE_DAEMONS:
    case AP_MPMQ_MAX_SPARE_DAEMONS:
        *result = 0;
        break;
    case AP_MPMQ_MIN_SPARE_THREADS:
        *result = config->min_spare;
        break;
    case AP_MPMQ_MAX_SPARE_THREADS:
        *result = config->max_spare;
        break;
    case AP_MPMQ_MAX_REQUESTS_DAEMON:
        *result = config->vp_connections;
        break;
    case AP_MPMQ_MAX_DAEMONS:
        *result = config->num_vps;
        break;
    case AP_MPMQ_MPM_STATE:
        *result = state();
        break;
    case AP_MPMQ_GENERATION:
        *result = stm.mpm->my_generation;
        break;
    default:
        *rv = APR_ENOTIMPL;
        break;
    }
    return OK;
}

const char *stm_get_name(void)
{
    return "stm";
}
