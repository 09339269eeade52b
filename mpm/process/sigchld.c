/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The master's wake-up: httpd looks for dead children once a second; here SIGCHLD ends the wait, so
 * that a VP that died is replaced at once. The handler is in this module, which a restart unloads,
 * so it is removed before the run hook ends. Only the master has the pipe: anyone else who had an
 * end of it could fill it, make it block, and so stop the master in its handler.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "mpm/process/process.h"

static int wake[2] = {-1, -1};
static struct sigaction before;

static void on_sigchld(int signal_number)
{
    int saved = errno;
    ssize_t n = write(wake[1], "", 1);

    (void)signal_number;
    (void)n; /* a full pipe wakes as well */
    errno = saved;
}

bool stm_sigchld_open(void)
{
    struct sigaction action = {.sa_handler = on_sigchld, .sa_flags = SA_RESTART | SA_NOCLDSTOP};

    if (pipe2(wake, O_CLOEXEC | O_NONBLOCK) != 0) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, errno, ap_server_conf,
                     STMNO(0074) "cannot create a pipe for the master");
        return false;
    }
    sigemptyset(&action.sa_mask);
    sigaction(SIGCHLD, &action, &before);
    if (before.sa_handler == SIG_IGN) /* inherited: the kernel would reap our children */
        before.sa_handler = SIG_DFL;
    return true;
}

void stm_sigchld_close(void)
{
    if (wake[0] < 0)
        return;
    sigaction(SIGCHLD, &before, NULL);
    close(wake[0]);
    close(wake[1]);
    wake[0] = wake[1] = -1;
}

void stm_sigchld_in_vp(void)
{
    stm_sigchld_close();
}

/* signals: the mask to use while waiting; NULL: leave it unchanged. */
static void wait_for(struct pollfd *list, int count, apr_interval_time_t timeout,
                     const sigset_t *signals)
{
    char drain[64];
    struct timespec limit = {0};

    if (timeout > 0) {
        limit.tv_sec = (time_t)apr_time_sec(timeout);
        limit.tv_nsec = (long)apr_time_usec(timeout) * 1000;
    }
    list[0] = (struct pollfd){.fd = wake[0], .events = POLLIN};
    if (ppoll(list, (nfds_t)count, &limit, signals) <= 0 || !list[0].revents)
        return;
    while (read(wake[0], drain, sizeof(drain)) > 0)
        continue;
}

void stm_sigchld_wait(apr_interval_time_t timeout)
{
    struct pollfd list[1];

    wait_for(list, 1, timeout, NULL);
}

void stm_sigchld_wait_or_hear(apr_interval_time_t timeout, const sigset_t *signals)
{
    struct pollfd list[1 + STM_VP_LIMIT];

    wait_for(list, 1 + stm_children_channels(list + 1, STM_VP_LIMIT), timeout, signals);
}
