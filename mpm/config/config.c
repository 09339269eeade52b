/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration as a whole: defaults before the directives are read (pre_config), relations
 * between them afterwards (check_config). Individual values are checked in directives.c.
 */
#include <sched.h>
#include <stdlib.h>

#include "mpm/config/config.h"
#include "mpm/config/run_on.h"

stm_config_t stm_config;

/* The defaults of the user's guide. */
enum {
    DEFAULT_NUM_VPS = 4,
    DEFAULT_START = 5,
    DEFAULT_MIN_SPARE = 5,
    DEFAULT_MAX_SPARE = 10,
    DEFAULT_MAX_THREADS = 64,
    DEFAULT_STACK_SIZE = 65536,
    DEFAULT_KERNEL = 25,
    DEFAULT_STALL_WARNING = 500, /* ms */
    DEFAULT_HANG_TIMEOUT = 300,  /* s */
    DEFAULT_CONFIG_TEST = 60,    /* s */
    DEFAULT_HELPERS = 256,
};

void stm_config_begin(void)
{
    stm_config_t *config = &stm_config;

    memset(config, 0, sizeof(*config));
    config->num_vps = STM_UNSET;
    config->start_threads = STM_UNSET;
    config->min_spare = STM_UNSET;
    config->max_spare = STM_UNSET;
    config->max_threads = STM_UNSET;
    config->vp_connections = STM_UNSET;
    config->connection_status = 1;
    config->threaded_io = 1;
    config->small_pools = 1;
    config->kernel_threads = DEFAULT_KERNEL;
    config->stall_warning = DEFAULT_STALL_WARNING;
    config->hang_timeout = DEFAULT_HANG_TIMEOUT;
    config->config_test_timeout = DEFAULT_CONFIG_TEST;
    config->helper_threads = DEFAULT_HELPERS;
    config->start_servers = STM_UNSET;
    config->min_spare_servers = STM_UNSET;
    config->max_spare_servers = STM_UNSET;
    config->server_limit = STM_UNSET;
    config->thread_limit = STM_UNSET;
    config->threads_per_child = STM_UNSET;
    config->max_request_workers = STM_UNSET;
    for (int i = 0; i < STM_VP_LIMIT; i++)
        config->cpu[i] = -1;
}

/* Logs that a value was changed because it made no sense together with another. */
static void correct(server_rec *s, int *value, int better, const char *directive,
                    const char *reason)
{
    /* What another MPM's directives imply is not the administrator's mistake. */
    int level = stm_config.max_request_workers != STM_UNSET ? APLOG_INFO : APLOG_WARNING;

    ap_log_error(APLOG_MARK, level | stm.startup, 0, stm.startup ? NULL : s,
                 STMNO(0003) "WARNING: %s of %d %s, changing it to %d.", directive, *value, reason,
                 better);
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
    if (stm.one_process)
        config->num_vps = 1;
}

/* A number of spare threads that is not set follows those that are: a default must never cause a
 * warning. */
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
    int listeners = stm_listens_count() > 0 ? stm_listens_count() : 1;
    int per_listener;

    if (config->max_threads < listeners && listeners <= STM_ST_LIMIT)
        correct(s, &config->max_threads, listeners, "MaxThreads",
                "leaves some listening sockets without a state thread");
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

static int at_least(int a, int b)
{
    return a > b ? a : b;
}

/* The core scoreboard is created once, at the first start, and does not grow: room for VPs and
 * threads that a restart may add must be reserved from the start. */
stm_limits_t stm_config_limits(void)
{
    const stm_config_t *config = &stm_config;
    stm_limits_t limits = {0};

    if (stm.limits) /* httpd -V asks before the directives are read */
        limits = *stm.limits;

    if (!limits.seats) {
        limits.seats = at_least(at_least(config->num_vps * 2, 4), config->server_limit);
        if (limits.seats > STM_VP_LIMIT)
            limits.seats = at_least(config->num_vps, STM_VP_LIMIT);
    }
    if (!limits.threads)
        limits.threads = at_least(config->max_threads, config->thread_limit);
    if (!limits.slots)
        limits.slots = limits.threads;
    if (limits.slots > STM_SLOTS_ALL / limits.seats)
        limits.slots = STM_SLOTS_ALL / limits.seats;
    return limits;
}

static void respect_scoreboard(stm_config_t *config, server_rec *s)
{
    if (!stm.limits->seats)
        return;
    if (config->num_vps > stm.limits->seats)
        correct(s, &config->num_vps, stm.limits->seats, "NumVPs",
                "exceeds what the running server's scoreboard holds (stop and start the server, "
                "or set ServerLimit)");
    if (stm.limits->threads && config->max_threads > stm.limits->threads)
        correct(s, &config->max_threads, stm.limits->threads, "MaxThreads",
                "exceeds what the running server's scoreboard holds (stop and start the server, "
                "or set ThreadLimit)");
}

int stm_config_refuse(server_rec *s, const char *message)
{
    ap_log_error(APLOG_MARK, APLOG_CRIT | stm.startup, 0, stm.startup ? NULL : s, "%s", message);
    return HTTP_INTERNAL_SERVER_ERROR;
}

/* Bindings name VPs; only now is it known how many there are. */
static int check_bindings(const stm_config_t *config, apr_pool_t *p, server_rec *s)
{
    if (stm.one_process)
        return OK;
    if (config->binds > config->num_vps)
        return stm_config_refuse(
            s, apr_psprintf(
                   p,
                   STMNO(0004) "VPBind: VP-ID %d is out of range: must be between 0 and NumVPs - 1 "
                               "(%d)",
                   config->binds - 1, config->num_vps - 1));
    if (!config->vp_listens)
        return OK;
    if (config->vp_listen_max > config->num_vps)
        return stm_config_refuse(
            s,
            apr_psprintf(
                p,
                STMNO(0005) "VPListen: VP-ID %d is out of range: must be between 0 and NumVPs - 1 "
                            "(%d)",
                config->vp_listen_max - 1, config->num_vps - 1));
    for (int vp = 0; vp < config->num_vps; vp++) {
        bool listens = false;

        for (int i = 0; i < config->addresses; i++)
            listens |= (config->vp_listen[i].vps[vp / 64] >> (vp % 64)) & 1;
        if (!listens)
            return stm_config_refuse(
                s,
                apr_psprintf(
                    p,
                    STMNO(0006) "VPListen: VP %d has no listener: if any VP has one, each of the "
                                "%d VPs (NumVPs) must have at least one",
                    vp, config->num_vps));
    }
    return OK;
}

int stm_config_check(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s)
{
    stm_config_t *config = &stm_config;

    stm_migrate(config, pconf);
    fill_in_defaults(config);
    respect_scoreboard(config, s);
    correct_relations(config, s);
    ap_max_requests_per_child = config->vp_connections;
    ap_thread_stacksize = config->stack_size;

    stm_run_on_check(s);
    if (stm_listens_count() > STM_LISTENER_LIMIT)
        return stm_config_refuse(
            s, apr_psprintf(
                   ptemp, STMNO(0007) "Listen: %d listening sockets exceed STM_LISTENER_LIMIT (%d)",
                   stm_listens_count(), STM_LISTENER_LIMIT));
    return check_bindings(config, ptemp, s);
}
