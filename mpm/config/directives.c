/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directives: each value is checked by itself, and errors name the directive, the value and the
 * range. config.c checks how values relate to each other. docs/directives.md is the manual.
 */
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "mpm/config/config.h"
#include "mpm/config/run_on.h"

/* With fewer, the kinds of calls could not be kept from holding up each other. */
#define LEAST_HELPERS 8
#define MOST_HELPERS  4096

typedef struct {
    int least, most;
} range_t;

/* cmd->info of each number's directive: where the value goes, and what is allowed. */
typedef struct {
    int *value;
    range_t range;
} number_t;

static const char *context_error(cmd_parms *cmd)
{
    return ap_check_cmd_context(cmd, GLOBAL_ONLY);
}

static bool parse_int(const char *text, long long *value)
{
    char *end;

    errno = 0;
    *value = strtoll(text, &end, 10);
    return errno == 0 && end != text && *end == '\0';
}

static const char *out_of_range(cmd_parms *cmd, const char *what, const char *text, long long least,
                                long long most)
{
    return apr_psprintf(cmd->pool,
                        "%s%s: %s is out of range: must be between %" APR_INT64_T_FMT
                        " and %" APR_INT64_T_FMT,
                        cmd->cmd->name, what, text, (apr_int64_t)least, (apr_int64_t)most);
}

static const char *parse_number(cmd_parms *cmd, const char *what, const char *text, range_t range,
                                int *value)
{
    long long number = 0;

    if (!parse_int(text, &number))
        return apr_psprintf(cmd->pool, "%s%s: %s is not a number: must be between %d and %d",
                            cmd->cmd->name, what, text, range.least, range.most);
    if (number < range.least || number > range.most)
        return out_of_range(cmd, what, text, range.least, range.most);
    *value = (int)number;
    return NULL;
}

static const char *set_number(cmd_parms *cmd, void *dummy, const char *text)
{
    const number_t *number = cmd->info;
    const char *error = context_error(cmd);

    (void)dummy;
    return error ? error : parse_number(cmd, "", text, number->range, number->value);
}

/* NULL if the server may run on that CPU, else why not. */
static const char *cpu_refuses(int cpu, apr_pool_t *pool)
{
    int cpus = (int)sysconf(_SC_NPROCESSORS_CONF);
    cpu_set_t allowed;

    if (cpu >= cpus)
        return apr_psprintf(pool, "no such CPU: must be between 0 and %d", cpus - 1);
    if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0 && !CPU_ISSET((size_t)cpu, &allowed))
        return "this CPU is offline, or the server may not run on it";
    return NULL;
}

static const char *set_num_vps(cmd_parms *cmd, void *dummy, const char *text)
{
    static const range_t range = {1, STM_VP_LIMIT};
    const char *error = context_error(cmd);

    (void)dummy;
    if (error)
        return error;
    if (strcasecmp(text, "auto") == 0) {
        int cpus = stm_cpus();

        stm_config.num_vps = cpus < STM_VP_LIMIT ? cpus : STM_VP_LIMIT;
        return NULL;
    }
    return parse_number(cmd, "", text, range, &stm_config.num_vps);
}

static const char *set_stack_size(cmd_parms *cmd, void *dummy, const char *text)
{
    range_t range = {(int)sysconf(_SC_PAGESIZE), INT_MAX};
    const char *error = context_error(cmd);
    int size = 0;

    (void)dummy;
    if (!error)
        error = parse_number(cmd, "", text, range, &size);
    if (!error)
        stm_config.stack_size = (apr_size_t)size;
    return error;
}

/* An idle VP makes a turn each second, so silence for less time would mean nothing. */
static const char *set_config_test(cmd_parms *cmd, void *dummy, const char *text)
{
    const char *error = context_error(cmd);

    (void)dummy;
    if (error)
        return error;
    if (strcasecmp(text, "Full") != 0 && strcasecmp(text, "Syntax") != 0)
        return apr_psprintf(cmd->pool, "ConfigTest: %s is not Full or Syntax", text);
    stm_config.config_test_syntax = strcasecmp(text, "Syntax") == 0;
    return NULL;
}

static const char *set_hang_timeout(cmd_parms *cmd, void *dummy, const char *text)
{
    static const range_t range = {0, INT_MAX};
    const char *error = context_error(cmd);
    int seconds = 0;

    (void)dummy;
    if (error || (error = parse_number(cmd, "", text, range, &seconds)))
        return error;
    if (seconds > 0 && seconds < 3)
        return apr_psprintf(cmd->pool,
                            "%s: %s is out of range: must be 0, or between 3 and %d (seconds)",
                            cmd->cmd->name, text, INT_MAX);
    stm_config.hang_timeout = seconds;
    return NULL;
}

static const char *set_flag(cmd_parms *cmd, void *dummy, int on)
{
    const char *error = context_error(cmd);

    (void)dummy;
    if (!error)
        *(int *)cmd->info = on;
    return error;
}

static const char *set_scoreboard_dir(cmd_parms *cmd, void *dummy, const char *path)
{
    const char *error = context_error(cmd);

    (void)dummy;
    if (!error)
        stm_config.scoreboard_dir = path;
    return error;
}

static const char *set_core_dir(cmd_parms *cmd, void *dummy, const char *path)
{
    const char *error = context_error(cmd);
    const char *full = ap_server_root_relative(cmd->temp_pool, path);
    apr_finfo_t info;

    if (error)
        return error;
    if (!full || apr_stat(&info, full, APR_FINFO_TYPE, cmd->temp_pool) != APR_SUCCESS ||
        info.filetype != APR_DIR)
        return apr_psprintf(cmd->pool, "CoreDir: %s is not an existing directory",
                            full ? full : path);
    return ap_mpm_set_coredumpdir(cmd, dummy, path);
}

static const char *parse_vp(cmd_parms *cmd, const char *text, int *vp)
{
    static const range_t range = {0, STM_VP_LIMIT - 1};

    return parse_number(cmd, ": VP-ID", text, range, vp);
}

static const char *set_vp_bind(cmd_parms *cmd, void *dummy, const char *vp_text,
                               const char *cpu_text)
{
    static const range_t cpus = {0, CPU_SETSIZE - 1};
    const char *error = context_error(cmd);
    int vp = 0, cpu = 0;

    (void)dummy;
    if (error || (error = parse_vp(cmd, vp_text, &vp)) ||
        (error = parse_number(cmd, ": CPU-ID", cpu_text, cpus, &cpu)))
        return error;
    error = cpu_refuses(cpu, cmd->pool);
    if (error)
        return apr_psprintf(cmd->pool, "VPBind: CPU-ID %d: %s", cpu, error);
    stm_config.cpu[vp] = (short)cpu;
    if (vp >= stm_config.binds)
        stm_config.binds = vp + 1;
    return NULL;
}

static const char *set_vp_listen(cmd_parms *cmd, void *dummy, int argc, char *const argv[])
{
    const char *error = context_error(cmd);
    int vp = 0;

    (void)dummy;
    if (error)
        return error;
    if (argc < 2)
        return "VPListen takes a VP-ID and one or more addresses (IP-address:port)";
    if ((error = parse_vp(cmd, argv[0], &vp)))
        return error;
    if (stm_config.listens)
        return "VPListen and Listen cannot be mixed: bind every listener with VPListen, or none";
    for (int i = 1; i < argc && !error; i++)
        error = stm_listens_add(cmd, vp, argv[i]);
    if (vp >= stm_config.vp_listen_max)
        stm_config.vp_listen_max = vp + 1;
    stm_config.vp_listens++;
    return error;
}

static const char *set_listen(cmd_parms *cmd, void *dummy, int argc, char *const argv[])
{
    if (stm_config.vp_listens)
        return "Listen and VPListen cannot be mixed: bind every listener with VPListen, or none";
    stm_config.listens++;
    return ap_set_listener(cmd, dummy, argc, argv);
}

/* A number of another MPM's directive: parsed, kept for migrate.c, never rejected for being too
 * large for us. */
static const char *set_foreign(cmd_parms *cmd, void *dummy, const char *text)
{
    static const range_t range = {0, INT_MAX};
    const char *error = context_error(cmd);

    (void)dummy;
    return error ? error : parse_number(cmd, "", text, range, cmd->info);
}

static const char *set_worker_factor(cmd_parms *cmd, void *dummy, const char *text)
{
    const char *error = context_error(cmd);
    char *end;
    double factor;

    (void)dummy;
    if (error)
        return error;
    factor = strtod(text, &end);
    if (end == text || *end != '\0' || factor <= 0.0)
        return apr_psprintf(cmd->pool, "%s: %s is out of range: must be a number greater than 0",
                            cmd->cmd->name, text);
    return NULL; /* a waiting connection holds no state thread: there is nothing to weigh */
}

static const number_t start_threads = {&stm_config.start_threads, {1, STM_ST_LIMIT}};
static const number_t min_spare = {&stm_config.min_spare, {1, STM_ST_LIMIT}};
static const number_t max_spare = {&stm_config.max_spare, {1, STM_ST_LIMIT}};
static const number_t max_threads = {&stm_config.max_threads, {1, STM_ST_LIMIT}};
static const number_t thread_connections = {&stm_config.thread_connections, {0, INT_MAX}};
static const number_t vp_connections = {&stm_config.vp_connections, {0, INT_MAX}};
static const number_t stall_warning = {&stm_config.stall_warning, {0, INT_MAX}};
static const number_t helper_threads = {&stm_config.helper_threads, {LEAST_HELPERS, MOST_HELPERS}};
static const number_t kernel_threads = {&stm_config.kernel_threads, {0, STM_KERNEL_LIMIT}};
static const number_t config_test_timeout = {&stm_config.config_test_timeout, {0, INT_MAX}};

#define FOREIGN(name, member)                                                                      \
    AP_INIT_TAKE1(name, set_foreign, &stm_config.member, RSRC_CONF,                                \
                  "Accepted from configurations for other MPMs; see docs/directives.md")

/* httpd also shows a directive's help text when its value is missing or empty, so the text includes
 * the range. */
#define INFO(number)   ((void *)(uintptr_t) & (number)) /* read only: set_number() */
#define NUMBER_(limit) #limit
#define NUMBER(limit)  NUMBER_(limit)
#define THREAD_RANGE   "between 1 and " NUMBER(STM_ST_LIMIT) ": "

const command_rec stm_directives[] = {
    AP_INIT_TAKE1("NumVPs", set_num_vps, NULL, RSRC_CONF,
                  "between 1 and " NUMBER(
                      STM_VP_LIMIT) ", or auto (one per CPU): Number of virtual processors"),
    AP_INIT_TAKE1("StartThreads", set_number, INFO(start_threads), RSRC_CONF,
                  THREAD_RANGE "State threads that each VP starts for each listening socket"),
    AP_INIT_TAKE1(
        "MinSpareThreads", set_number, INFO(min_spare), RSRC_CONF,
        THREAD_RANGE
        "Minimum number of state threads per listening socket that wait for a connection"),
    AP_INIT_TAKE1(
        "MaxSpareThreads", set_number, INFO(max_spare), RSRC_CONF,
        THREAD_RANGE
        "Maximum number of state threads per listening socket that wait for a connection"),
    AP_INIT_TAKE1("MaxThreads", set_number, INFO(max_threads), RSRC_CONF,
                  THREAD_RANGE "Maximum number of state threads of one VP, spare and busy"),
    AP_INIT_TAKE1(
        "StackSize", set_stack_size, NULL, RSRC_CONF,
        "between the page size and 2147483647: Size in bytes of each state thread's stack"),
    AP_INIT_TAKE1("ThreadConnections", set_number, INFO(thread_connections), RSRC_CONF,
                  "Connections that a state thread serves before it yields the VP; 0: unlimited"),
    AP_INIT_TAKE1("VPConnections", set_number, INFO(vp_connections), RSRC_CONF,
                  "Connections that a VP serves before it is replaced; 0: unlimited"),
    AP_INIT_TAKE1(
        "KernelThreads", set_number, INFO(kernel_threads), RSRC_CONF,
        "between 0 and " NUMBER(
            STM_KERNEL_LIMIT) ": Maximum number of a VP's kernel threads for requests; 0: none"),
    AP_INIT_TAKE_ARGV("RunOn", stm_run_on_set, NULL, RSRC_CONF | ACCESS_CONF,
                      "state, kernel or auto: The kind of thread that serves requests; if names of "
                      "handlers follow, only those"),
    AP_INIT_FLAG("ConnectionStatus", set_flag, &stm_config.connection_status, RSRC_CONF,
                 "Whether the scoreboards hold the status of each connection: On or Off"),
    AP_INIT_FLAG("StateThreadedIO", set_flag, &stm_config.threaded_io, RSRC_CONF,
                 "Whether modules' blocking calls yield the VP: On, or Off for diagnosis"),
    AP_INIT_FLAG("SmallPools", set_flag, &stm_config.small_pools, RSRC_CONF,
                 "Whether VPs allocate APR's pools in small pieces: On or Off"),
    AP_INIT_TAKE1(
        "StallWarning", set_number, INFO(stall_warning), RSRC_CONF,
        "between 0 and 2147483647: Milliseconds after which a VP that is held up is logged"),
    AP_INIT_TAKE1(
        "HangTimeout", set_hang_timeout, NULL, RSRC_CONF,
        "0, or between 3 and 2147483647: Seconds after which a hanging VP is terminated and "
        "replaced; 0: never"),
    AP_INIT_TAKE1(
        "HelperThreads", set_number, INFO(helper_threads), RSRC_CONF,
        "between " NUMBER(LEAST_HELPERS) " and " NUMBER(
            MOST_HELPERS) ": Maximum number of kernel threads of a VP for calls that block inside "
                          "the C library"),
    AP_INIT_TAKE1("ConfigTest", set_config_test, NULL, RSRC_CONF,
                  "Full or Syntax: What is tested before a restart"),
    AP_INIT_TAKE1("ConfigTestTimeout", set_number, INFO(config_test_timeout), RSRC_CONF,
                  "between 0 and 2147483647: Seconds that the configuration test before a restart "
                  "may take; 0: no limit"),
    AP_INIT_TAKE1("ScoreboardDir", set_scoreboard_dir, NULL, RSRC_CONF,
                  "Existing directory for the VPs' scoreboard files"),
    AP_INIT_TAKE1("CoreDir", set_core_dir, NULL, RSRC_CONF, "Existing directory for core dumps"),
    AP_INIT_TAKE2("VPBind", set_vp_bind, NULL, RSRC_CONF, "A VP-ID and the CPU-ID to bind it to"),
    AP_INIT_TAKE_ARGV("VPListen", set_vp_listen, NULL, RSRC_CONF,
                      "A VP-ID and the addresses on which this VP listens"),

    /* LISTEN_COMMANDS, one by one: Listen must not be mixed with VPListen, the others are httpd's
     * own. */
    AP_INIT_TAKE_ARGV(
        "Listen", set_listen, NULL, RSRC_CONF,
        "A port number or a numeric IP address and a port number, and an optional protocol"),
    AP_INIT_TAKE1("ListenBacklog", ap_set_listenbacklog, NULL, RSRC_CONF,
                  "Maximum length of the queue of pending connections, as used by listen(2)"),
    AP_INIT_TAKE1("ListenCoresBucketsRatio", ap_set_listencbratio, NULL, RSRC_CONF,
                  "Accepted, but there is always exactly one bucket of listeners"),
    AP_INIT_TAKE1("SendBufferSize", ap_set_send_buffer_size, NULL, RSRC_CONF,
                  "Send buffer size in bytes"),
    AP_INIT_TAKE1("ReceiveBufferSize", ap_set_receive_buffer_size, NULL, RSRC_CONF,
                  "Receive buffer size in bytes"),
#ifdef DEFAULT_TCP_DEFER_ACCEPT /* httpd has had the directive since 2.4.64 */
    AP_INIT_TAKE1("ListenTCPDeferAccept", ap_set_listentcpdeferaccept, NULL, RSRC_CONF,
                  "Value set for the socket option TCP_DEFER_ACCEPT if it is set"),
#endif
    AP_GRACEFUL_SHUTDOWN_TIMEOUT_COMMAND,

    FOREIGN("StartServers", start_servers),
    FOREIGN("MinSpareServers", min_spare_servers),
    FOREIGN("MaxSpareServers", max_spare_servers),
    FOREIGN("ServerLimit", server_limit),
    FOREIGN("ThreadLimit", thread_limit),
    FOREIGN("ThreadsPerChild", threads_per_child),
    FOREIGN("MaxRequestWorkers", max_request_workers),
    FOREIGN("MaxClients", max_request_workers),
    AP_INIT_TAKE1("AsyncRequestWorkerFactor", set_worker_factor, NULL, RSRC_CONF,
                  "Accepted from configurations for the event MPM, but has no effect"),
    {NULL, {NULL}, NULL, 0, RAW_ARGS, NULL},
};
