/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An httpd module that makes calls in ways that few modules use but any may. Loaded by
 * tests/live/test_calls.py only.
 *
 *   SetHandler calls, then GET ...?close-thread ?close-fclose ?close-range
 *                                 waits for a socket, has it closed in that way, and leaves its
 *                                 number to whoever comes next: says the number
 *                          ?late-body=MS    uses CPU for so long, then reads the body (and says 100
 *                                 Continue to who expects it): its length
 *                          ?signals=N       raises a signal so often whose handler, set in the
 *                                 master, writes to a pipe that the request reads: what came
 */
#include <httpd.h>
#include <http_config.h>
#include <http_protocol.h>

#include <errno.h>
#include <linux/close_range.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* --- closing --- */

static void *close_there(void *fd)
{
    if (close((int)(intptr_t)fd) != 0)
        abort();
    return NULL;
}

static void close_somehow(const char *how, int fd)
{
    pthread_t thread;
    int rc = 0;

    if (strcmp(how, "thread") == 0)
        rc = pthread_create(&thread, NULL, close_there, (void *)(intptr_t)fd) ||
             pthread_join(thread, NULL);
    else if (strcmp(how, "fclose") == 0)
        rc = fclose(fdopen(fd, "r+"));
    else
        rc = close_range((unsigned)fd, (unsigned)fd, 0);
    if (rc != 0)
        abort();
}

/* The other end stays open, so that the number is the lowest one that is free. */
static int close_what_was_waited_for(request_rec *r, const char *how)
{
    struct pollfd one = {.events = POLLIN};
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0)
        return HTTP_INTERNAL_SERVER_ERROR;
    one.fd = fds[0];
    if (poll(&one, 1, 10) != 0)
        return HTTP_INTERNAL_SERVER_ERROR;
    close_somehow(how, fds[0]);
    ap_rprintf(r, "%d\n", fds[0]);
    return OK;
}

/* --- reading late --- */

static long used(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int read_late(request_rec *r, long ms)
{
    long end = used() + ms, got, sum = 0;
    char data[1000];
    int rc = ap_setup_client_block(r, REQUEST_CHUNKED_DECHUNK);

    if (rc != OK)
        return rc;
    while (used() < end)
        continue;
    if (ap_should_client_block(r))
        while ((got = ap_get_client_block(r, data, sizeof(data))) != 0) {
            if (got < 0)
                return HTTP_REQUEST_TIME_OUT;
            sum += got;
        }
    ap_rprintf(r, "%ld\n", sum);
    return OK;
}

/* --- signals --- */

static int pipe_fds[2];

static void on_signal(int number)
{
    int error = errno;

    (void)number;
    if (write(pipe_fds[1], "s", 1) != 1)
        abort();
    errno = error;
}

/* event's workers block all signals. */
static int raise_signals(request_rec *r, long count)
{
    sigset_t mine;
    char c;

    sigemptyset(&mine);
    sigaddset(&mine, SIGUSR2);
    pthread_sigmask(SIG_UNBLOCK, &mine, NULL);
    for (long i = 0; i < count; i++) {
        raise(SIGUSR2);
        if (read(pipe_fds[0], &c, 1) != 1)
            return HTTP_INTERNAL_SERVER_ERROR;
        ap_rputc(c, r);
    }
    return OK;
}

static int post_config(apr_pool_t *pool, apr_pool_t *log, apr_pool_t *temp, server_rec *server)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

    (void)pool, (void)log, (void)temp, (void)server;
    return pipe(pipe_fds) == 0 && sigaction(SIGUSR2, &action, NULL) == 0 ? OK : DONE;
}

/* --- the module --- */

static int handler(request_rec *r)
{
    const char *args = r->args ? r->args : "";

    if (strcmp(r->handler, "calls") != 0)
        return DECLINED;
    ap_set_content_type(r, "text/plain");
    if (strncmp(args, "close-", 6) == 0)
        return close_what_was_waited_for(r, args + 6);
    if (strncmp(args, "late-body=", 10) == 0)
        return read_late(r, strtol(args + 10, NULL, 10));
    if (strncmp(args, "signals=", 8) == 0)
        return raise_signals(r, strtol(args + 8, NULL, 10));
    return HTTP_BAD_REQUEST;
}

static void register_hooks(apr_pool_t *pool)
{
    (void)pool;
    ap_hook_post_config(post_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(handler, NULL, NULL, APR_HOOK_MIDDLE);
}

AP_DECLARE_MODULE(calls) = {STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, register_hooks,
                            AP_MODULE_FLAG_NONE};
