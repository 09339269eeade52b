/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes wrong only when a server starts (a port in use, a key that does not match its
 * certificate, a log in a missing directory) would end it at a restart. So the copy of httpd that
 * tests a configuration (configtest.c) also does what httpd's first pass does at a start: it opens
 * listening sockets and logs and runs the modules' post_config hooks, and ends. Sockets on which
 * the server already listens count as open. All of this runs in the copy, except for the first
 * function.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <apr_portable.h>

#include "mpm/config/config.h"
#include "mpm/process/process.h"

/* What a list of sockets begins with; anything else is not such a list. */
#define HEADING "listening sockets"

static int output = -1; /* the test's output, while log messages go there */
static bool sockets_known;

/* --- the server's listening sockets, by the names that httpd compares --- */

void stm_rehearsal_list(int fd)
{
    int count = stm_listens_count();

    dprintf(fd, HEADING " %d\n", count);
    for (const ap_listen_rec *lr = ap_listeners; lr; lr = lr->next) {
        const apr_sockaddr_t *address = lr->bind_addr;

        dprintf(fd, "%d %d %s\n", address->family, address->port,
                address->hostname ? address->hostname : "*");
    }
}

/* An unbound socket takes the place of the server's, which must not be touched. httpd reuses it for
 * a Listen line of that name. */
static bool add_listener(apr_pool_t *pool, int family, int port, const char *host)
{
    ap_listen_rec *lr = apr_pcalloc(pool, sizeof(*lr));

    if (apr_sockaddr_info_get(&lr->bind_addr, strcmp(host, "*") == 0 ? NULL : host, family,
                              (apr_port_t)port, 0, pool) != APR_SUCCESS ||
        apr_socket_create(&lr->sd, family, SOCK_STREAM, 0, pool) != APR_SUCCESS)
        return false;
    lr->active = 1;
    lr->next = ap_listeners;
    ap_listeners = lr;
    return true;
}

/* "FAMILY PORT HOST" */
static bool read_socket(const char *line, apr_pool_t *pool)
{
    char *rest;
    long family = strtol(line, &rest, 10), port = strtol(rest, &rest, 10);

    return *rest == ' ' && rest[1] && add_listener(pool, (int)family, (int)port, rest + 1);
}

static bool read_list(FILE *list, apr_pool_t *pool)
{
    char line[1200];
    long count;

    if (!fgets(line, sizeof(line), list) || strncmp(line, HEADING, strlen(HEADING)) != 0)
        return false;
    count = strtol(line + strlen(HEADING), NULL, 10);
    for (long i = 0; i < count; i++) {
        if (!fgets(line, sizeof(line), list))
            return false;
        line[strcspn(line, "\n")] = '\0';
        if (!read_socket(line, pool))
            return false;
    }
    return true;
}

void stm_rehearsal_know_sockets(int fd, apr_pool_t *process_pool)
{
    FILE *list = lseek(fd, 0, SEEK_SET) == 0 ? fdopen(dup(fd), "r") : NULL;

    if (!list)
        return;
    sockets_known = read_list(list, process_pool);
    fclose(list);
}

/* --- the rehearsal --- */

/* That the logs could be opened is part of the test; what is logged from now on concerns only the
 * master. */
static void divert_logs(server_rec *s, int to)
{
    apr_os_file_t fd;

    dup2(to, STDERR_FILENO);
    for (; s; s = s->next) {
        if (s->error_log && apr_os_file_get(&fd, s->error_log) == APR_SUCCESS)
            dup2(to, fd);
    }
}

/* Only what may explain a failure, not notes about how modules start. */
static void say_only_errors(server_rec *s)
{
    for (; s; s = s->next) {
        s->log.module_levels = NULL;
        s->log.level = APLOG_WARNING;
    }
}

int stm_rehearsal_logs_open(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    (void)pconf;
    (void)plog;
    (void)ptemp;
    if (output >= 0)
        divert_logs(s, output);
    return DECLINED;
}

/* "Syntax OK", which httpd will say now, would be misleading. */
static void say_no_more(server_rec *s)
{
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);

    if (nowhere >= 0)
        divert_logs(s, nowhere);
}

static bool start(apr_pool_t *pconf, server_rec *s)
{
    apr_pool_t *plog, *ptemp;

    if (apr_pool_create(&plog, s->process->pool) != APR_SUCCESS ||
        apr_pool_create(&ptemp, pconf) != APR_SUCCESS)
        return true; /* no error is known */
    if (ap_run_open_logs(pconf, plog, ptemp, s) != OK) {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, s,
                     STMNO(0072) "its sockets or logs cannot be opened");
        return false;
    }
    if (ap_run_post_config(pconf, plog, ptemp, s) != OK) {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, s, STMNO(0073) "a module cannot be initialized");
        return false;
    }
    return true;
}

/* A person types it when the server starts, and the server keeps it across restarts. */
static bool asks_for_pass_phrase(void)
{
    char text[16384];
    ssize_t n = pread(output, text, sizeof(text) - 1, 0);

    text[n > 0 ? n : 0] = '\0';
    return strcasestr(text, "pass phrase") || strcasestr(text, "passphrase");
}

stm_rehearsed_e stm_rehearse(apr_pool_t *pconf, server_rec *s)
{
    stm_rehearsed_e outcome = STM_REHEARSED_WELL;

    if (!sockets_known || stm_config.config_test_syntax)
        return outcome;
    output = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    if (output < 0)
        return outcome;
    say_only_errors(s);
    if (!start(pconf, s))
        outcome = asks_for_pass_phrase() ? STM_REHEARSED_NOT : STM_REHEARSED_BADLY;
    say_no_more(s);
    return outcome;
}
