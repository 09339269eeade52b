/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connect() and sendfile() on blocking sockets: the kernel has no flag for "this call only", so the
 * socket is made nonblocking for the duration of the call. Nothing else runs on the VP meanwhile.
 */
#include "stiol/file.h"

enum { FULL_INTERVAL = 5000 }; /* us; longest between tries at a local socket with a full queue */

static int set_nonblocking(int fd, bool on)
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

    if (set_nonblocking(fd, true) != 0)
        return -1;
    rc = connect(fd, addr, length);
    (void)set_nonblocking(fd, false);
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
    stiol__backoff_t backoff = {0};
    int rc;

    while ((rc = connect_now(fd, addr, length)) != 0 && errno == EAGAIN) {
        st_utime_t interval = stiol__interval(&backoff, FULL_INTERVAL);
        st_utime_t left = stiol__left(deadline);

        if (left == 0) {
            errno = EAGAIN;
            break;
        }
        if (interval == 0)
            st_thread_yield();
        else if (st_usleep(interval < left ? interval : left) != 0)
            return stiol__failed(vp);
    }
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

/* --- sendfile --- */

static ssize_t send_now(stiol__vp_t *vp, int out, int in, off64_t *offset, size_t count)
{
    ssize_t n;

    if (set_nonblocking(out, true) != 0)
        return -1;
    n = stiol__send_file(vp, out, in, offset, count);
    (void)set_nonblocking(out, false);
    return n;
}

static ssize_t send_all(stiol__vp_t *vp, int out, int in, off64_t *offset, size_t count)
{
    st_utime_t deadline = stiol__deadline(stiol__socket_timeout(out, SO_SNDTIMEO));
    size_t done = 0;
    ssize_t n = 0;

    while (done < count) {
        n = send_now(vp, out, in, offset, count - done);
        if (n == 0)
            break;
        if (n > 0) {
            done += (size_t)n;
            continue;
        }
        if (errno != EAGAIN)
            break;
        STIOL_PARKS(vp, io);
        n = stiol__wait_fd(out, POLLOUT, stiol__left(deadline));
        if (n == 0) {
            errno = EAGAIN;
            n = -1;
        } else if (n < 0) {
            n = stiol__failed(vp);
        }
        if (n < 0)
            break;
    }
    stiol__yield();
    return done == 0 && n < 0 ? -1 : (ssize_t)done;
}

ssize_t stiol__sendfile64(int out, int in, off64_t *offset, size_t count)
{
    stiol__vp_t *vp = STIOL_ENTER(io, sendfile64, out);
    stiol__fd_class_t class;

    if (!vp || count == 0)
        return sendfile64(out, in, offset, count);
    class = stiol__fd_class(out);
    if (class != STIOL_FD_SOCKET && class != STIOL_FD_STREAM)
        return stiol__passed(out, stiol__send_file(vp, out, in, offset, count), POLLOUT);
    return send_all(vp, out, in, offset, count);
}

_Static_assert(sizeof(off_t) == sizeof(off64_t), "files are addressed with 64 bits");

ssize_t stiol__sendfile(int out, int in, off_t *offset, size_t count)
{
    return stiol__sendfile64(out, in, (off64_t *)offset, count);
}
