/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the MPM's parsers and rules call of httpd, which is no library: as much of each function as
 * they see. For fuzz_directives.c and the unit tests. What is not here is not reached by them.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <apr_file_info.h>
#include <apr_general.h>
#include <apr_portable.h>
#include <apr_strings.h>

#include "mpm/stm.h"
#include "tests/mpm/httpd.h"

static const stm_limits_t limits;

stm_globals_t stm = {.limits = &limits};
module mpm_stm_module;
ap_listen_rec *ap_listeners;
server_rec *ap_server_conf;
ap_directive_t *ap_conftree;
int ap_extended_status, ap_max_requests_per_child;
apr_size_t ap_thread_stacksize;
unixd_config_rec ap_unixd_config;
bool httpd_has_modules = true;

/* --- directives --- */

const char *ap_check_cmd_context(cmd_parms *cmd, unsigned forbidden)
{
    (void)cmd;
    (void)forbidden;
    return NULL;
}

static const char *accept_any(cmd_parms *cmd, void *dummy, const char *arg)
{
    (void)cmd;
    (void)dummy;
    (void)arg;
    return NULL;
}

const char *ap_mpm_set_coredumpdir(cmd_parms *cmd, void *dummy, const char *arg)
{
    return accept_any(cmd, dummy, arg);
}

const char *ap_mpm_set_graceful_shutdown(cmd_parms *cmd, void *dummy, const char *arg)
{
    return accept_any(cmd, dummy, arg);
}

const char *ap_set_listenbacklog(cmd_parms *cmd, void *dummy, const char *arg)
{
    return accept_any(cmd, dummy, arg);
}

const char *ap_set_listencbratio(cmd_parms *cmd, void *dummy, const char *arg)
{
    return accept_any(cmd, dummy, arg);
}

const char *ap_set_send_buffer_size(cmd_parms *cmd, void *dummy, const char *arg)
{
    return accept_any(cmd, dummy, arg);
}

const char *ap_set_receive_buffer_size(cmd_parms *cmd, void *dummy, const char *arg)
{
    return accept_any(cmd, dummy, arg);
}

#ifdef DEFAULT_TCP_DEFER_ACCEPT
const char *ap_set_listentcpdeferaccept(cmd_parms *cmd, void *dummy, const char *arg)
{
    return accept_any(cmd, dummy, arg);
}
#endif

char *ap_server_root_relative(apr_pool_t *pool, const char *path)
{
    char *full = NULL;

    return apr_filepath_merge(&full, "/nonexistent", path, APR_FILEPATH_TRUENAME, pool) ==
                   APR_SUCCESS
               ? full
               : NULL;
}

/* --- listeners: by address, without a name server --- */

static bool numeric(const char *host)
{
    unsigned char address[16];

    return !host || inet_pton(AF_INET, host, address) == 1 ||
           inet_pton(AF_INET6, host, address) == 1;
}

const char *ap_set_listener(cmd_parms *cmd, void *dummy, int argc, char *const argv[])
{
    ap_listen_rec *listener = apr_pcalloc(cmd->pool, sizeof(*listener));
    char *host, *scope;
    apr_port_t port;

    (void)dummy;
    if (argc < 1 || argc > 2)
        return "Listen requires 1 or 2 arguments.";
    if (apr_parse_addr_port(&host, &scope, &port, argv[0], cmd->pool) != APR_SUCCESS)
        return "Invalid address or port";
    if (scope || !port || !numeric(host))
        return "Port must be specified";
    if (apr_sockaddr_info_get(&listener->bind_addr, host, APR_UNSPEC, port, 0, cmd->pool) !=
        APR_SUCCESS)
        return "alloc_listener: failed to set up sockaddr";
    listener->next = ap_listeners;
    ap_listeners = listener;
    return NULL;
}

void ap_listen_pre_config(void)
{
    ap_listeners = NULL;
}

/* --- the rest --- */

char *ap_strcasestr(const char *text, const char *part)
{
    return (char *)(uintptr_t)strcasestr(text, part);
}

module *ap_find_linked_module(const char *name)
{
    static module any;

    (void)name;
    return httpd_has_modules ? &any : NULL;
}

/* Which end the process, if there is no memory. */
void *ap_malloc(size_t size)
{
    void *memory = malloc(size);

    if (!memory)
        abort();
    return memory;
}

void *ap_calloc(size_t count, size_t size)
{
    void *memory = calloc(count, size);

    if (!memory)
        abort();
    return memory;
}

/* --- the log: what is logged is formatted, too --- */

static char lines[16384];
static size_t lines_size;
static int line_count;

bool logged(const char *text)
{
    return strstr(lines, text);
}

int log_lines(void)
{
    return line_count;
}

void forget_log(void)
{
    lines_size = 0;
    lines[0] = '\0';
    line_count = 0;
}

void ap_log_error_(const char *file, int line, int module_index, int level, apr_status_t status,
                   const server_rec *s, const char *format, ...)
{
    char text[8192];
    size_t size;
    va_list args;

    (void)file;
    (void)line;
    (void)module_index;
    (void)level;
    (void)status;
    (void)s;
    va_start(args, format);
    size = (size_t)apr_vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    line_count++;
    if (lines_size + size + 2 > sizeof(lines))
        return;
    memcpy(lines + lines_size, text, size);
    lines_size += size;
    lines[lines_size++] = '\n';
    lines[lines_size] = '\0';
}

/* --- never called: the sanitizers' tables keep functions that would --- */

void ap_close_listeners(void)
{
    abort();
}

process_score *ap_get_scoreboard_process(int child)
{
    (void)child;
    abort();
}

void stm_vp_idle_check(void)
{
    abort();
}

/* --- for the tests --- */

apr_pool_t *test_pool(void)
{
    static apr_pool_t *pool;

    if (!pool && (apr_initialize() != APR_SUCCESS || apr_pool_create(&pool, NULL) != APR_SUCCESS))
        abort();
    return pool;
}

/* --- of the module's root --- */

/* A test to which time matters has one of its own. */
__attribute__((weak)) apr_time_t stm_monotonic(void)
{
    return 0;
}
