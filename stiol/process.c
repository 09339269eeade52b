/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for processes: for a known one on its pidfd, for any of several by polling at intervals.
 */
#include <sys/syscall.h>

#include "stiol/program.h"
#include "stiol/stiol_int.h"

enum { INTERVAL = 10000 }; /* us; longest between two checks for any child */

static int pidfd_of(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

/* Parks until there may be something to reap: the process has ended, or some time has passed. -1
 * with EINTR. */
static int await(int pidfd, stiol__backoff_t *backoff)
{
    st_utime_t interval;
    int rc;

    if (pidfd >= 0) {
        rc = stiol__wait_fd(pidfd, POLLIN, STIOL_NEVER);
        return rc < 0 && errno == EINTR ? -1 : 0;
    }
    interval = stiol__interval(backoff, INTERVAL);
    if (interval == 0)
        st_thread_yield();
    else if (st_usleep(interval) != 0)
        return -1;
    return 0;
}

/* Asks without waiting; nonzero: there was something, or an error. */
typedef int (*ask_t)(void *arg);

/* A pidfd reports only the end, so it is useful only if the caller waits for that. */
static int wait_until(stiol__vp_t *vp, pid_t pid, bool end_only, ask_t ask, void *arg)
{
    st_wait_t wait = {.kind = ST_WAIT_PROCESS, .number = pid > 0 ? pid : -1};
    stiol__backoff_t backoff = {0};
    int pidfd, before = errno, rc = ask(arg), error;

    if (rc != 0) {
        stiol__yield();
        return rc;
    }
    STIOL_PARKS(vp, process);
    st_wait_begin(&wait);
    pidfd = pid > 0 && end_only ? pidfd_of(pid) : -1;
    do {
        rc = await(pidfd, &backoff);
        if (rc == 0)
            rc = ask(arg);
    } while (rc == 0);
    error = errno;
    st_wait_end(&wait);
    if (pidfd >= 0) {
        st_fd_forget(pidfd);
        (void)close(pidfd);
    }
    errno = rc < 0 ? error : before;
    return rc;
}

/* The same, as a cancellation point. */
static int wait_or_end(stiol__vp_t *vp, pid_t pid, bool end_only, ask_t ask, void *arg)
{
    int rc = wait_until(vp, pid, end_only, ask, arg);

    if (rc < 0 && errno == EINTR)
        stiol__cancellation();
    return rc;
}

typedef struct wait4_args {
    pid_t pid;
    int *status, options;
    struct rusage *usage;
} wait4_args_t;

static int ask_wait4(void *arg)
{
    const wait4_args_t *args = arg;

    return wait4(args->pid, args->status, args->options | WNOHANG, args->usage);
}

static pid_t wait_for(stiol__vp_t *vp, pid_t pid, int *status, int options, struct rusage *usage)
{
    wait4_args_t args = {pid, status, options, usage};

    if ((options & WNOHANG) != 0) {
        stiol__yield();
        return wait4(pid, status, options, usage);
    }
    return wait_or_end(vp, pid, (options & (WUNTRACED | WCONTINUED)) == 0, ask_wait4, &args);
}

/** waitpid() that fails with EINTR where the other one would end the thread. */
pid_t stiol__wait_for_child(stiol__vp_t *vp, pid_t pid, int *status)
{
    wait4_args_t args = {pid, status, 0, NULL};

    return wait_until(vp, pid, true, ask_wait4, &args);
}

pid_t stiol__waitpid(pid_t pid, int *status, int options)
{
    stiol__vp_t *vp = STIOL_ENTER(process, waitpid, pid);

    return !vp ? waitpid(pid, status, options) : wait_for(vp, pid, status, options, NULL);
}

pid_t stiol__wait(int *status)
{
    stiol__vp_t *vp = STIOL_ENTER(process, wait, 0);

    return !vp ? wait(status) : wait_for(vp, -1, status, 0, NULL);
}

pid_t stiol__wait3(int *status, int options, struct rusage *usage)
{
    stiol__vp_t *vp = STIOL_ENTER(process, wait3, options);

    return !vp ? wait3(status, options, usage) : wait_for(vp, -1, status, options, usage);
}

pid_t stiol__wait4(pid_t pid, int *status, int options, struct rusage *usage)
{
    stiol__vp_t *vp = STIOL_ENTER(process, wait4, pid);

    return !vp ? wait4(pid, status, options, usage) : wait_for(vp, pid, status, options, usage);
}

typedef struct waitid_args {
    idtype_t type;
    id_t id;
    siginfo_t *info;
    int options;
} waitid_args_t;

/* waitid() also returns 0 if there is nothing yet: then the pid in info is 0. */
static int ask_waitid(void *arg)
{
    const waitid_args_t *args = arg;

    args->info->si_pid = 0;
    if (waitid(args->type, args->id, args->info, args->options | WNOHANG) != 0)
        return -1;
    return args->info->si_pid != 0;
}

int stiol__waitid(idtype_t type, id_t id, siginfo_t *info, int options)
{
    stiol__vp_t *vp = STIOL_ENTER(process, waitid, id);
    siginfo_t own;
    waitid_args_t args = {type, id, info ? info : &own, options};
    bool end_only = (options & (WSTOPPED | WCONTINUED)) == 0;

    if (!vp)
        return waitid(type, id, info, options);
    if ((options & WNOHANG) != 0) {
        stiol__yield();
        return waitid(type, id, info, options);
    }
    return wait_or_end(vp, type == P_PID ? (pid_t)id : 0, end_only, ask_waitid, &args) < 0 ? -1 : 0;
}
