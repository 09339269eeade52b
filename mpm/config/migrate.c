/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directives of prefork, worker and event, mapped to their meaning here, so that configurations for
 * those MPMs start unchanged. docs/directives.md has the table. Mappings are logged only at level
 * info, as they are not mistakes.
 */
#include <stdarg.h>

#include "mpm/config/config.h"

/* What was mapped, kept until there is an error log to write it to. */
static apr_array_header_t *messages;

static void tell(apr_pool_t *pool, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void tell(apr_pool_t *pool, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    APR_ARRAY_PUSH(messages, const char *) = apr_pvsprintf(pool, format, args);
    va_end(args);
}

void stm_migrate_log(server_rec *s)
{
    for (int i = 0; messages && i < messages->nelts; i++)
        ap_log_error(APLOG_MARK, APLOG_INFO, 0, s, "%s", APR_ARRAY_IDX(messages, i, const char *));
}

static int clamp(long long value, int least, int most)
{
    if (value < least)
        return least;
    return value > most ? most : (int)value;
}

/* The maximum number of concurrent requests, divided among the VPs. */
static void map_request_workers(stm_config_t *config, apr_pool_t *pool, int vps)
{
    int each = clamp(((long long)config->max_request_workers + vps - 1) / vps, 1, STM_ST_LIMIT);

    if (config->max_threads != STM_UNSET) {
        tell(pool, STMNO(0008) "MaxRequestWorkers %d has no effect beside MaxThreads %d",
             config->max_request_workers, config->max_threads);
        return;
    }
    config->max_threads = each;
    tell(pool, STMNO(0009) "MaxRequestWorkers %d, divided among %d VPs, is taken as MaxThreads %d",
         config->max_request_workers, vps, each);
}

/* Without MaxRequestWorkers, event and worker allow 16 processes of ThreadsPerChild threads. */
static void map_threads_per_child(stm_config_t *config, apr_pool_t *pool, int vps)
{
    int servers = config->server_limit > 0 ? config->server_limit : 16;
    long long all = (long long)config->threads_per_child * servers;

    if (config->max_threads != STM_UNSET)
        return;
    config->max_threads = clamp((all + vps - 1) / vps, 1, STM_ST_LIMIT);
    tell(pool, STMNO(0010) "ThreadsPerChild %d is taken as MaxThreads %d",
         config->threads_per_child, config->max_threads);
}

/* A number of processes that another MPM would start or end. */
static void tell_constant(apr_pool_t *pool, const char *directive, int value)
{
    if (value != STM_UNSET)
        tell(pool, STMNO(0011) "%s %d has no effect: the number of processes is constant (NumVPs)",
             directive, value);
}

void stm_migrate(stm_config_t *config, apr_pool_t *pool)
{
    int vps = config->num_vps != STM_UNSET ? config->num_vps : clamp(4, 1, STM_VP_LIMIT);

    messages = apr_array_make(pool, 4, sizeof(const char *));
    if (config->max_request_workers > 0)
        map_request_workers(config, pool, vps);
    else if (config->threads_per_child > 0)
        map_threads_per_child(config, pool, vps);
    tell_constant(pool, "StartServers", config->start_servers);
    tell_constant(pool, "MinSpareServers", config->min_spare_servers);
    tell_constant(pool, "MaxSpareServers", config->max_spare_servers);
    if (config->server_limit > 0)
        config->server_limit = clamp(config->server_limit, 1, STM_VP_LIMIT);
    if (config->thread_limit > 0)
        config->thread_limit = clamp(config->thread_limit, 1, STM_ST_LIMIT);
}
