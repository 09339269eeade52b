/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connect() on blocking sockets. The kernel has no flag for a single nonblocking call, so the
 * socket is made nonblocking for the duration of the call. As that does not yield, no other state
 * thread sees it; another process or kernel thread that uses the same socket might.
 */
#include "stiol/transfer.h"

enum { FULL_INTERVAL = 5000 }; /* us; longest between tries at a local socket with a full queue */

int stiol__set_nonblocking(int fd, bool on)
{
    int error = errno, flags = fcntl(fd, F_GETFL), rc = -1;

    if (flags >= 0)
        rc = fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
    if (rc == 0)
        errno = error;
    return rc;
}

static int connect_now(int fd, __CONST_SOCKADDR_ARG addr, socklen_t length)
{
    int rc;

    if (stiol__set_nonblocking(fd, true) != 0)
        return -1;
    rc = connect(fd, addr, length);
    (void)stiol__set_nonblocking(fd, false);
    return rc;
}

/* The connection is in progress: parks until it is established or refused. Then calls connect() to
 * find out which, since only that makes the kernel regard the socket as connected: the next call
 * has to fail with EISCONN. */
static int await_result(stiol__vp_t *vp, int fd, __CONST_SOCKADDR_ARG addr, socklen_t length,
                        st_utime_t deadline)
{
    int rc;

    do {
        rc = stiol__wait_fd(fd, POLLOUT, stiol__left(deadline));
        if (rc < 0)
            return stiol__failed(vp);
        if (rc == 0) {
            errno = EINPROGRESS; /* as connect() reports SO_SNDTIMEO */
            return -1;
        }
        rc = connect_now(fd, addr, length);
    } while (rc != 0 && (errno == EALREADY || errno == EINPROGRESS));
    return rc != 0 && errno == EISCONN ? 0 : rc;
}

/* A local socket says EAGAIN while the listener's queue is full, and nothing reports when it no
 * longer is. */
static int connect_at_intervals(stiol__vp_t *vp, int fd, __CONST_SOCKADDR_ARG addr,
                                socklen_t length, st_utime_t deadline)
{
    st_wait_t wait = {.kind = ST_WAIT_FD, .number = fd, .events = POLLOUT};
    stiol__backoff_t backoff = {0};
    int rc;

    st_wait_begin(&wait);
    while ((rc = connect_now(fd, addr, length)) != 0 && errno == EAGAIN) {
        st_utime_t interval = stiol__interval(&backoff, FULL_INTERVAL);
        st_utime_t left = stiol__left(deadline);

        if (left == 0) {
            errno = EAGAIN;
            break;
        }
        if (interval == 0)
            st_thread_yield();
        else if (st_usleep(interval < left ? interval : left) != 0) {
            st_wait_end(&wait);
            return stiol__failed(vp);
        }
    }
    st_wait_end(&wait);
    return rc;
}

int stiol__connect(int fd, __CONST_SOCKADDR_ARG addr, socklen_t length)
{
    stiol__vp_t *vp = STIOL_ENTER(io, connect, fd);
    st_utime_t deadline;
    int rc, error = errno;

    if (!vp || (stiol__fd_class(fd) != STIOL_FD_SOCKET &&
                !(stiol__fd_kind(fd) == STIOL_FD_ASYNC_SOCKET && stiol__blocks_now(fd))))
        return connect(fd, addr, length);
    deadline = stiol__deadline(stiol__socket_timeout(fd, SO_SNDTIMEO));
    STIOL_PARKS(vp, io);
    rc = connect_at_intervals(vp, fd, addr, length, deadline);
    if (rc != 0 && (errno == EINPROGRESS || errno == EALREADY))
        rc = await_result(vp, fd, addr, length, deadline);
    else
        stiol__yield();
    if (rc == 0)
        errno = error;
    return rc;
}
