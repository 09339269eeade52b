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

enum {
    FRAMES = 8,         /* between us and the module that asks */
    MOST_AT_ONCE = 128, /* threads that a module is to make in advance, in each VP */
};

/* Modules that make as many threads in advance as there may be. They are known by their files: only
 * these ask, and they tell nobody who they are. */
static const char *const starters[] = {
    "mod_http2.so",        /* 13 KB each; half as many again when busy (H2MaxWorkers) */
    "rivet_worker_mpm.so", /* mod_rivet's interpreters of Tcl, 16 KB each and more */
};

static bool is_starter(const char *path)
{
    const char *slash = strrchr(path, '/');

    for (size_t i = 0; i < sizeof(starters) / sizeof(starters[0]); i++)
        if (strcmp(slash ? slash + 1 : path, starters[i]) == 0)
            return true;
    return false;
}

/* Whether one of them made the call in progress: some frame above us is in it. mod_http2 may be in
 * the server itself, where its functions have names, for modules. */
static bool called_by_starter(void)
{
    void *frames[FRAMES];
    int count = backtrace(frames, FRAMES);

    for (int i = 0; i < count; i++) {
        Dl_info info;

        if (dladdr(frames[i], &info) &&
            ((info.dli_fname && is_starter(info.dli_fname)) ||
             (info.dli_sname && strncmp(info.dli_sname, "h2_", 3) == 0)))
            return true;
    }
    return false;
}

/*
 * Modules size their own pools by this. Most only use it as a limit (mod_proxy's and the caches'
 * connections to a backend), for which the true value is right. To those that start that many
 * threads in advance the true value would mean thousands of them.
 */
static int max_threads(void)
{
    int all = stm_config.max_threads;

    return all > MOST_AT_ONCE && called_by_starter() ? MOST_AT_ONCE : all;
}

/* Modules ask about the connection that they are serving. */
static int state(void)
{
    const stm_conn_t *conn = stm.vp.state == STM_VP_LEAVING ? stm_worker_conn() : NULL;

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
        if (stm_query_is_can_waitio(query_code))
            *result = 1;
        else
            *rv = APR_ENOTIMPL;
        break;
    }
    return OK;
}

const char *stm_get_name(void)
{
    return "stm";
}
