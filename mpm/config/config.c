/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration's life: defaults before the directives are read (pre_config), relations between
 * them afterwards (check_config). Single values are checked in directives.c.
 */
#include <sched.h>
#include <stdlib.h>

#include "mpm/scoreboard/score.h"
#include "mpm/stm.h"

/* The user's guide's defaults. */
#define DEFAULT_NUM_VPS       4
#define DEFAULT_START         5
#define DEFAULT_MIN_SPARE     5
#define DEFAULT_MAX_SPARE     10
#define DEFAULT_MAX_THREADS   64
#define DEFAULT_STACK_SIZE    65536
#define DEFAULT_STALL_WARNING 500 /* ms */
#define DEFAULT_HANG_TIMEOUT  300 /* s */
#define DEFAULT_CONFIG_TEST   60  /* s */

static void set_defaults(stm_config_t *config)
{
    memset(config, 0, sizeof *config);
    config->num_vps = STM_UNSET;
    config->start_threads = STM_UNSET;
    config->min_spare = STM_UNSET;
    config->max_spare = STM_UNSET;
    config->max_threads = STM_UNSET;
    config->vp_connections = STM_UNSET;
    config->connection_status = 1;
    config->threaded_io = 1;
    config->small_pools = 1;
    config->stall_warning = DEFAULT_STALL_WARNING;
    config->hang_timeout = DEFAULT_HANG_TIMEOUT;
    config->config_test_timeout = DEFAULT_CONFIG_TEST;
    config->start_servers = STM_UNSET;
    config->server_limit = STM_UNSET;
    config->thread_limit = STM_UNSET;
    config->threads_per_child = STM_UNSET;
    config->max_request_workers = STM_UNSET;
    for (int i = 0; i < STM_VP_LIMIT; i++)
        config->cpu[i] = -1;
}

static bool environment_asks(const char *name)
{
    return getenv(name) != NULL;
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
    /* Before the terminal is left: a crash is to be found in the error log. */
    ap_fatal_signal_setup(ap_server_conf, pconf);
    rv = apr_proc_detach(mode->no_detach ? APR_PROC_DETACH_FOREGROUND : APR_PROC_DETACH_DAEMONIZE);
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, rv, NULL, "stm: apr_proc_detach failed");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    return OK;
}

int stm_pre_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp)
{
    STM_ENTER();
    stm_mode_t mode = running_mode();

    (void)plog;
    (void)ptemp;
    stm.pconf = pconf;
    stm.retained = stm_retained_get();
    stm.retained->mpm->mpm_state = AP_MPMQ_STARTING;
    stm.one_process = mode.one_process;
#ifdef STM_DEBUG
    stm.trace = environment_asks("STM_TRACE");
#endif

    /* httpd reads its configuration twice when it starts, and detaches between the two. */
    if (++stm.retained->mpm->module_loads == 2) {
        int rc = detach(&mode, pconf);

        if (rc != OK)
            return rc;
    }

    ap_listen_pre_config();
    set_defaults(&stm.config);
    stm.config.one_process = mode.one_process;
    ap_extended_status = 0;
    return OK;
}

int stm_startup_flag(void)
{
    STM_ENTER();
    return stm.retained->mpm->module_loads == 1 ? APLOG_STARTUP : 0;
}

/* Tells that a value was changed because it made no sense beside another. */
static void correct(server_rec *s, int *value, int better, const char *directive,
                    const char *reason)
{
    /* What another MPM's directives imply is no mistake of the administrator's. */
    int level = stm.config.max_request_workers != STM_UNSET ? APLOG_INFO : APLOG_WARNING;

    ap_log_error(APLOG_MARK, level | stm_startup_flag(), 0, stm_startup_flag() ? NULL : s,
                 "WARNING: %s of %d %s, changing it to %d.", directive, *value, reason, better);
    *value = better;
}

static void fill_in_defaults(stm_config_t *config)
{
    if (config->num_vps == STM_UNSET)
        config->num_vps = DEFAULT_NUM_VPS < STM_VP_LIMIT ? DEFAULT_NUM_VPS : STM_VP_LIMIT;
    if (config->max_threads == STM_UNSET)
        config->max_threads =
            DEFAULT_MAX_THREADS < STM_ST_LIMIT ? DEFAULT_MAX_THREADS : STM_ST_LIMIT;
    if (config->vp_connections == STM_UNSET)
        config->vp_connections = ap_max_requests_per_child;
    if (config->stack_size == 0)
        config->stack_size = ap_thread_stacksize ? ap_thread_stacksize : DEFAULT_STACK_SIZE;
    if (config->one_process)
        config->num_vps = 1;
}

/* A spare-thread number that is not set follows what is set: a default must never cause a warning.
 */
static void fill_in_spares(stm_config_t *config, int per_listener)
{
    int least = DEFAULT_MIN_SPARE < per_listener ? DEFAULT_MIN_SPARE : per_listener;
    int most = DEFAULT_MAX_SPARE < per_listener ? DEFAULT_MAX_SPARE : per_listener;
    int start = DEFAULT_START < per_listener ? DEFAULT_START : per_listener;

    if (config->min_spare == STM_UNSET)
        config->min_spare =
            config->max_spare != STM_UNSET && config->max_spare < least ? config->max_spare : least;
    if (config->max_spare == STM_UNSET)
        config->max_spare = config->min_spare > most ? config->min_spare : most;
    if (config->start_threads == STM_UNSET)
        config->start_threads = start;
}

static void correct_relations(stm_config_t *config, server_rec *s)
{
    int listeners = stm_listen_count() > 0 ? stm_listen_count() : 1;
    int per_listener;

    if (config->max_threads < listeners && listeners <= STM_ST_LIMIT)
        correct(s, &config->max_threads, listeners, "MaxThreads",
                "leaves no state thread for some listening socket");
    per_listener = config->max_threads / listeners > 0 ? config->max_threads / listeners : 1;
    fill_in_spares(config, per_listener);

    if (config->start_threads > per_listener)
        correct(s, &config->start_threads, per_listener, "StartThreads",
                "exceeds MaxThreads divided by the number of listening sockets");
    if (config->max_spare > per_listener)
        correct(s, &config->max_spare, per_listener, "MaxSpareThreads",
                "exceeds MaxThreads divided by the number of listening sockets");
    if (config->min_spare > per_listener)
        correct(s, &config->min_spare, per_listener, "MinSpareThreads",
                "exceeds MaxThreads divided by the number of listening sockets");
    if (config->min_spare > config->max_spare)
        correct(s, &config->max_spare, config->min_spare, "MaxSpareThreads",
                "is less than MinSpareThreads");
}

/* The core scoreboard is made once, at the first start, and does not grow. */
static void respect_scoreboard(stm_config_t *config, server_rec *s)
{
    const stm_retained_t *retained = stm.retained;

    if (!retained->seats_limit)
        return;
    if (config->num_vps > retained->seats_limit)
        correct(s, &config->num_vps, retained->seats_limit, "NumVPs",
                "exceeds what the running server's scoreboard holds (stop and start the server, "
                "or set ServerLimit)");
    if (config->max_threads > retained->threads_limit)
        correct(s, &config->max_threads, retained->threads_limit, "MaxThreads",
                "exceeds what the running server's scoreboard holds (stop and start the server, "
                "or set ThreadLimit)");
}

static int refuse(server_rec *s, const char *message)
{
    ap_log_error(APLOG_MARK, APLOG_CRIT | stm_startup_flag(), 0, stm_startup_flag() ? NULL : s,
                 "%s", message);
    return HTTP_INTERNAL_SERVER_ERROR;
}

/* Bindings name VPs; only now is it known how many there are. */
static int check_bindings(const stm_config_t *config, apr_pool_t *p, server_rec *s)
{
    if (config->one_process)
        return OK;
    if (config->binds > config->num_vps)
        return refuse(
            s, apr_psprintf(
                   p, "VPBind: VP-ID %d is out of range: must be between 0 and NumVPs - 1 (%d)",
                   config->binds - 1, config->num_vps - 1));
    if (!config->vp_listens)
        return OK;
    if (config->vp_listen_max > config->num_vps)
        return refuse(
            s, apr_psprintf(
                   p, "VPListen: VP-ID %d is out of range: must be between 0 and NumVPs - 1 (%d)",
                   config->vp_listen_max - 1, config->num_vps - 1));
    for (int vp = 0; vp < config->num_vps; vp++) {
        bool listens = false;

        for (int i = 0; i < config->addresses; i++)
            listens |= (config->vp_listen[i].vps[vp / 64] >> (vp % 64)) & 1;
        if (!listens)
            return refuse(
                s, apr_psprintf(
                       p,
                       "VPListen: VP %d has no listener: if any VP has one, each of the %d VPs "
                       "(NumVPs) must have at least one",
                       vp, config->num_vps));
    }
    return OK;
}

static int check_scoreboard_dir(const stm_config_t *config, apr_pool_t *p, server_rec *s)
{
    apr_finfo_t info;
    const char *path, *message;

    if (!config->scoreboard_dir)
        return OK;
    path = ap_server_root_relative(p, config->scoreboard_dir);
    if (path && apr_stat(&info, path, APR_FINFO_TYPE, p) == APR_SUCCESS &&
        info.filetype == APR_DIR) {
        message = stm_score_check(path, config->num_vps, p);
        return message ? refuse(s, message) : OK;
    }
    return refuse(
        s, apr_psprintf(
               p, "ScoreboardDir: %s is not an existing directory; create it before httpd starts",
               path ? path : config->scoreboard_dir));
}

int stm_check_config(apr_pool_t *p, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    STM_ENTER();
    stm_config_t *config = &stm.config;
    int rc;

    (void)plog;
    stm_migrate(config, p);
    fill_in_defaults(config);
    respect_scoreboard(config, s);
    correct_relations(config, s);
    ap_max_requests_per_child = config->vp_connections;
    ap_thread_stacksize = config->stack_size;

    if (stm_listen_count() > STM_LISTENER_LIMIT)
        return refuse(s, apr_psprintf(ptemp,
                                      "Listen: %d listening sockets exceed STM_LISTENER_LIMIT (%d)",
                                      stm_listen_count(), STM_LISTENER_LIMIT));
    rc = check_bindings(config, ptemp, s);
    if (rc == OK)
        rc = check_scoreboard_dir(config, ptemp, s);
    if (rc == OK && ap_exists_config_define("DUMP_STM"))
        stm_dump_config(config);
    return rc == OK ? stm_config_test_answer(s) : rc;
}
