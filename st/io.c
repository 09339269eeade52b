/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocking I/O on descriptor objects: each call tries, and waits for readiness on EAGAIN. On byte
 * streams a short read or write already means that nothing is left, so the next call waits without
 * trying first.
 */
#include <string.h>

#include "st/st_internal.h"

enum { LOCAL_IOV = 16 };

/* Interrupts take precedence over readiness, as in State Threads 1.9. */
static int wait_ready(int osfd, int events, st_utime_t timeout)
{
    struct st_vp *vp = st__vp_get();

    if (!vp || st__take_interrupt(vp->current) < 0)
        return -1;
    if (st_fd_wait(osfd, events, timeout) < 0)
        return -1;
    return st__take_interrupt(vp->current);
}

/* After a failed call: 0 to try again, else -1. */
static int retry(st_netfd_t fd, int events, st_utime_t timeout)
{
    if (errno == EINTR)
        return 0;
    if (errno != EAGAIN)
        return -1;
    st_fd_again(fd->osfd, events);
    return wait_ready(fd->osfd, events, timeout);
}

/* Before the first attempt: waits if the descriptor is known not to be ready. */
static int prepare(st_netfd_t fd, int events, st_utime_t timeout)
{
    if (!fd->stream || st_fd_ready(fd->osfd) & (events | POLLERR | POLLHUP))
        return 0;
    return wait_ready(fd->osfd, events, timeout);
}

static inline void drained(st_netfd_t fd, int events, ssize_t done, size_t wanted)
{
    if (fd->stream && done > 0 && (size_t)done < wanted)
        st_fd_drained(fd->osfd, events);
}

static size_t iov_bytes(const struct iovec *iov, int count)
{
    size_t bytes = 0;

    for (int i = 0; i < count; i++)
        bytes += iov[i].iov_len;
    return bytes;
}

/* Advances by what was transferred; the bases and lengths of finished buffers are updated too. */
static void iov_advance(struct iovec **iov, int *count, size_t done)
{
    while (*count > 0 && done >= (*iov)->iov_len) {
        done -= (*iov)->iov_len;
        (*iov)->iov_base = (char *)(*iov)->iov_base + (*iov)->iov_len;
        (*iov)->iov_len = 0;
        (*iov)++;
        (*count)--;
    }
    if (*count > 0) {
        (*iov)->iov_base = (char *)(*iov)->iov_base + done;
        (*iov)->iov_len -= done;
    }
}

/* --- Connections --- */

/* Connections of a listening byte stream socket are byte streams: checked once per listener. */
static bool accepts_streams(st_netfd_t fd)
{
    if (!fd->stream_known) {
        int type = 0;

        fd->stream_known = true;
        fd->stream = st__sys_getsockopt(fd->osfd, SO_TYPE, &type) == 0 && type == SOCK_STREAM;
    }
    return fd->stream;
}

st_netfd_t st_accept(st_netfd_t fd, struct sockaddr *addr, int *addrlen, st_utime_t timeout)
{
    st_netfd_t connection;
    int osfd;

    while ((osfd = st__sys_accept(fd->osfd, addr, (socklen_t *)addrlen)) < 0)
        if (retry(fd, POLLIN, timeout) < 0)
            return NULL;
    if (!(connection = st__netfd_new(osfd, false, true))) {
        int error = errno;

        close(osfd);
        errno = error;
        return NULL;
    }
    connection->stream = accepts_streams(fd);
    connection->stream_known = true;
    return connection;
}

int st_connect(st_netfd_t fd, const struct sockaddr *addr, int addrlen, st_utime_t timeout)
{
    int error;

    if (st__sys_connect(fd->osfd, addr, (socklen_t)addrlen) == 0)
        return 0;
    if (errno != EINPROGRESS && errno != EINTR) /* EINTR: connecting continues all the same */
        return -1;
    /* What was known about the socket is out of date. */
    if (!st__vp_get() || st_fd_rearm(fd->osfd) < 0)
        return -1;
    if (wait_ready(fd->osfd, POLLOUT, timeout) < 0)
        return -1;
    if (st__sys_getsockopt(fd->osfd, SO_ERROR, &error) < 0)
        return -1;
    return error == 0 ? 0 : st__fail(error);
}

/* --- Reading --- */

ssize_t st_read(st_netfd_t fd, void *buf, size_t nbyte, st_utime_t timeout)
{
    ssize_t done;

    if (nbyte > 0 && prepare(fd, POLLIN, timeout) < 0)
        return -1;
    while ((done = st__sys_read(fd->osfd, buf, nbyte)) < 0)
        if (retry(fd, POLLIN, timeout) < 0)
            return -1;
    drained(fd, POLLIN, done, nbyte);
    return done;
}

ssize_t st_readv(st_netfd_t fd, const struct iovec *iov, int iov_size, st_utime_t timeout)
{
    size_t wanted = iov_bytes(iov, iov_size);
    ssize_t done;

    if (wanted > 0 && prepare(fd, POLLIN, timeout) < 0)
        return -1;
    while ((done = st__sys_readv(fd->osfd, iov, iov_size)) < 0)
        if (retry(fd, POLLIN, timeout) < 0)
            return -1;
    drained(fd, POLLIN, done, wanted);
    return done;
}

int st_readv_resid(st_netfd_t fd, struct iovec **iov, int *iov_size, st_utime_t timeout)
{
    while (*iov_size > 0) {
        ssize_t done = *iov_size == 1 ? st_read(fd, (*iov)->iov_base, (*iov)->iov_len, timeout)
                                      : st_readv(fd, *iov, *iov_size, timeout);

        if (done < 0)
            return -1;
        if (done == 0)
            return 0;
        iov_advance(iov, iov_size, (size_t)done);
    }
    return 0;
}

int st_read_resid(st_netfd_t fd, void *buf, size_t *resid, st_utime_t timeout)
{
    struct iovec iov = {.iov_base = buf, .iov_len = *resid}, *rest = &iov;
    int count = 1;
    int result = st_readv_resid(fd, &rest, &count, timeout);

    *resid = iov.iov_len;
    return result;
}

ssize_t st_read_fully(st_netfd_t fd, void *buf, size_t nbyte, st_utime_t timeout)
{
    size_t resid = nbyte;

    return st_read_resid(fd, buf, &resid, timeout) == 0 ? (ssize_t)(nbyte - resid) : -1;
}

/* --- Writing --- */

static ssize_t write_some(st_netfd_t fd, const struct iovec *iov, int count, st_utime_t timeout)
{
    ssize_t done;

    for (;;) {
        done = count == 1 ? st__sys_write(fd->osfd, iov->iov_base, iov->iov_len)
                          : st__sys_writev(fd->osfd, iov, count);
        if (done >= 0)
            return done;
        if (retry(fd, POLLOUT, timeout) < 0)
            return -1;
    }
}

int st_writev_resid(st_netfd_t fd, struct iovec **iov, int *iov_size, st_utime_t timeout)
{
    while (*iov_size > 0) {
        ssize_t done = write_some(fd, *iov, *iov_size, timeout);

        if (done < 0)
            return -1;
        iov_advance(iov, iov_size, (size_t)done);
    }
    return 0;
}

int st_write_resid(st_netfd_t fd, const void *buf, size_t *resid, st_utime_t timeout)
{
    struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = *resid}, *rest = &iov;
    int count = 1;
    int result = st_writev_resid(fd, &rest, &count, timeout);

    *resid = iov.iov_len;
    return result;
}

ssize_t st_write(st_netfd_t fd, const void *buf, size_t nbyte, st_utime_t timeout)
{
    size_t resid = nbyte;

    return st_write_resid(fd, buf, &resid, timeout) == 0 ? (ssize_t)nbyte : -1;
}

/* Writes what is left after the first `done` bytes, from a copy: the caller's iov is not
 * changed. */
static int write_rest(st_netfd_t fd, const struct iovec *iov, int count, size_t done,
                      st_utime_t timeout)
{
    struct iovec local[LOCAL_IOV], *copy = local, *rest;
    int result, error;

    while (done >= iov->iov_len) {
        done -= iov->iov_len;
        iov++;
        count--;
    }
    if (count > LOCAL_IOV && !(copy = st__malloc((size_t)count * sizeof(*copy))))
        return -1;
    memcpy(copy, iov, (size_t)count * sizeof(*copy));
    rest = copy;
    iov_advance(&rest, &count, done);
    result = st_writev_resid(fd, &rest, &count, timeout);
    error = errno;
    if (copy != local)
        free(copy);
    errno = error;
    return result;
}

ssize_t st_writev(st_netfd_t fd, const struct iovec *iov, int iov_size, st_utime_t timeout)
{
    size_t wanted = iov_bytes(iov, iov_size);
    ssize_t done;

    if (wanted == 0)
        return 0;
    if ((done = write_some(fd, iov, iov_size, timeout)) < 0)
        return -1;
    if ((size_t)done < wanted && write_rest(fd, iov, iov_size, (size_t)done, timeout) < 0)
        return -1;
    return (ssize_t)wanted;
}

/* --- Messages --- */

int st_recvfrom(st_netfd_t fd, void *buf, int len, struct sockaddr *from, int *fromlen,
                st_utime_t timeout)
{
    ssize_t done;

    while ((done = st__sys_recvfrom(fd->osfd, buf, (size_t)len, from, (socklen_t *)fromlen)) < 0)
        if (retry(fd, POLLIN, timeout) < 0)
            return -1;
    return (int)done;
}

int st_sendto(st_netfd_t fd, const void *msg, int len, const struct sockaddr *to, int tolen,
              st_utime_t timeout)
{
    ssize_t done;

    while ((done = st__sys_sendto(fd->osfd, msg, (size_t)len, to, (socklen_t)tolen)) < 0)
        if (retry(fd, POLLOUT, timeout) < 0)
            return -1;
    return (int)done;
}

int st_recvmsg(st_netfd_t fd, struct msghdr *msg, int flags, st_utime_t timeout)
{
    ssize_t done;

    while ((done = st__sys_recvmsg(fd->osfd, msg, flags)) < 0)
        if (retry(fd, POLLIN, timeout) < 0)
            return -1;
    return (int)done;
}

int st_sendmsg(st_netfd_t fd, const struct msghdr *msg, int flags, st_utime_t timeout)
{
    ssize_t done;

    while ((done = st__sys_sendmsg(fd->osfd, msg, flags)) < 0)
        if (retry(fd, POLLOUT, timeout) < 0)
            return -1;
    return (int)done;
}
