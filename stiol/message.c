/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recv(), send() and the like: sockets only. transfer.c handles whatever can make them wait.
 */
#include "stiol/transfer.h"

/* Whether the call may wait. Errors and urgent data are either there or not; no call waits for
 * them. */
static bool may_wait(int fd, int flags, bool in)
{
    if ((flags & (in ? MSG_DONTWAIT | MSG_ERRQUEUE | MSG_OOB : MSG_DONTWAIT)) != 0)
        return false;
    return stiol__fd_class(fd) == STIOL_FD_SOCKET;
}

/* Calls on descriptors believed to be nonblocking are told not to wait, too: O_NONBLOCK belongs to
 * the open file, which others may share and change. */
static int now(const stiol__vp_t *vp, int flags)
{
    return vp ? flags | MSG_DONTWAIT : flags;
}

/* After such a call: whether the descriptor is blocking, so that the call must wait after all. */
static bool is_to_wait(const stiol__vp_t *vp, const stiol__transfer_t *transfer, ssize_t n)
{
    const int never = transfer->in ? MSG_DONTWAIT | MSG_ERRQUEUE | MSG_OOB : MSG_DONTWAIT;

    return vp && (transfer->flags & never) == 0 && stiol__is_to_wait(transfer, n) &&
           stiol__fd_class(transfer->fd) == STIOL_FD_SOCKET;
}

/* --- receiving without consuming: MSG_PEEK --- */

/* TCP waits until as much as was asked for can be peeked at; others return what there is. */
static bool peeks_at_all(int fd, int flags)
{
    int domain = 0, error = errno;
    socklen_t length = sizeof(domain);

    if ((flags & (MSG_PEEK | MSG_WAITALL)) != (MSG_PEEK | MSG_WAITALL))
        return false;
    (void)getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length);
    errno = error;
    return domain == AF_INET || domain == AF_INET6;
}

/* Some bytes are there: waits until more arrive, which epoll reports, or none will. */
static bool await_more(stiol__vp_t *vp, int fd, st_utime_t deadline)
{
    st_utime_t left = stiol__left(deadline);

    STIOL_PARKS(vp, io);
    st_fd_again(fd, POLLIN);
    return left > 0 && st_fd_wait(fd, POLLIN | POLLRDHUP, left) == POLLIN;
}

/* When it returns, the bytes are there, or the caller gets what there is. */
static void peek_patiently(stiol__vp_t *vp, int fd, size_t wanted)
{
    st_utime_t deadline = stiol__deadline(stiol__socket_timeout(fd, SO_RCVTIMEO));
    int error = errno, there = 0;

    if (st_fd_rearm(fd) != 0)
        return;
    while (ioctl(fd, FIONREAD, &there) == 0 && (size_t)there < wanted)
        if (!await_more(vp, fd, deadline))
            break;
    errno = error;
}

/* --- receiving --- */

ssize_t stiol__recvfrom(int fd, void *restrict buf, size_t n, int flags, __SOCKADDR_ARG addr,
                        socklen_t *restrict addrlen)
{
    stiol__vp_t *vp = STIOL_ENTER(io, recvfrom, fd);
    struct iovec part = {buf, n};
    struct msghdr message = {.msg_name = addr.__sockaddr__, .msg_namelen = addrlen ? *addrlen : 0};
    stiol__transfer_t transfer = {.fd = fd,
                                  .flags = flags,
                                  .parts = &part,
                                  .count = 1,
                                  .message = &message,
                                  .in = true,
                                  .whole = (flags & MSG_WAITALL) != 0,
                                  .class = STIOL_FD_SOCKET};
    ssize_t got;

    if (!vp || !may_wait(fd, flags, true)) {
        got = recvfrom(fd, buf, n, now(vp, flags), addr, addrlen);
        if (!is_to_wait(vp, &transfer, got))
            return stiol__passed_in(fd, got, flags);
    }
    if ((flags & MSG_PEEK) != 0) {
        transfer.whole = false;
        if (peeks_at_all(fd, flags))
            peek_patiently(vp, fd, n);
    }
    got = stiol__move(vp, &transfer);
    if (got >= 0 && addrlen)
        *addrlen = transfer.partly ? transfer.first.msg_namelen : message.msg_namelen;
    return got;
}

ssize_t stiol____recvfrom_chk(int fd, void *restrict buf, size_t n, size_t size, int flags,
                              __SOCKADDR_ARG addr, socklen_t *restrict addrlen)
{
    return n > size ? __recvfrom_chk(fd, buf, n, size, flags, addr, addrlen)
                    : stiol__recvfrom(fd, buf, n, flags, addr, addrlen);
}

ssize_t stiol__recv(int fd, void *buf, size_t n, int flags)
{
    return stiol__recvfrom(fd, buf, n, flags, (struct sockaddr *)NULL, NULL);
}

ssize_t stiol____recv_chk(int fd, void *buf, size_t n, size_t size, int flags)
{
    return n > size ? __recv_chk(fd, buf, n, size, flags) : stiol__recv(fd, buf, n, flags);
}

/* What the caller is told besides the bytes: what came with the first, and how the last ended. */
static void tell(struct msghdr *message, const stiol__transfer_t *transfer)
{
    const struct msghdr *last = transfer->message;
    const struct msghdr *first = transfer->partly ? &transfer->first : last;

    message->msg_namelen = first->msg_namelen;
    message->msg_controllen = first->msg_controllen;
    message->msg_flags = first->msg_flags;
    if (transfer->partly)
        message->msg_flags |= last->msg_flags & ~MSG_CTRUNC;
}

static ssize_t receive(stiol__vp_t *vp, int fd, struct msghdr *message, int flags)
{
    struct msghdr own = *message;
    stiol__transfer_t transfer = {.fd = fd,
                                  .flags = flags,
                                  .parts = own.msg_iov,
                                  .count = own.msg_iovlen,
                                  .message = &own,
                                  .in = true,
                                  .whole = (flags & (MSG_WAITALL | MSG_PEEK)) == MSG_WAITALL,
                                  .class = STIOL_FD_SOCKET};
    ssize_t got;

    if (peeks_at_all(fd, flags))
        peek_patiently(vp, fd, stiol__length_of(own.msg_iov, own.msg_iovlen));
    got = stiol__move_copied(vp, &transfer);
    if (got >= 0)
        tell(message, &transfer);
    return got;
}

ssize_t stiol__recvmsg(int fd, struct msghdr *message, int flags)
{
    stiol__vp_t *vp = STIOL_ENTER(io, recvmsg, fd);
    const stiol__transfer_t transfer = {.fd = fd, .flags = flags, .in = true};
    ssize_t got = -1;
    bool waits = vp && may_wait(fd, flags, true) && message->msg_iovlen <= 1024;

    if (!waits) {
        got = recvmsg(fd, message, now(vp, flags));
        waits = is_to_wait(vp, &transfer, got);
    }
    got = waits ? receive(vp, fd, message, flags) : stiol__passed_in(fd, got, flags);
    if (got >= 0 && message->msg_controllen > 0)
        stiol__fd_received(message);
    return got;
}

/* --- sending --- */

ssize_t stiol__sendto(int fd, const void *buf, size_t n, int flags, __CONST_SOCKADDR_ARG addr,
                      socklen_t addrlen)
{
    stiol__vp_t *vp = STIOL_ENTER(io, sendto, fd);
    struct iovec part = {(void *)(uintptr_t)buf, n};
    struct msghdr message = {.msg_name = (void *)(uintptr_t)addr.__sockaddr__,
                             .msg_namelen = addrlen};
    stiol__transfer_t transfer = {.fd = fd,
                                  .flags = flags,
                                  .parts = &part,
                                  .count = 1,
                                  .message = &message,
                                  .whole = true,
                                  .class = STIOL_FD_SOCKET};
    ssize_t sent;

    if (!vp || !may_wait(fd, flags, false)) {
        sent = sendto(fd, buf, n, now(vp, flags), addr, addrlen);
        if (is_to_wait(vp, &transfer, sent))
            return stiol__move_after_all(vp, &transfer, sent);
        return stiol__passed_out(fd, sent);
    }
    return stiol__move(vp, &transfer);
}

ssize_t stiol__send(int fd, const void *buf, size_t n, int flags)
{
    return stiol__sendto(fd, buf, n, flags, (const struct sockaddr *)NULL, 0);
}

ssize_t stiol__sendmsg(int fd, const struct msghdr *message, int flags)
{
    stiol__vp_t *vp = STIOL_ENTER(io, sendmsg, fd);
    struct msghdr own;
    stiol__transfer_t transfer = {
        .fd = fd, .flags = flags, .message = &own, .whole = true, .class = STIOL_FD_SOCKET};
    ssize_t sent;

    if (!vp || message->msg_iovlen > 1024)
        return sendmsg(fd, message, flags);
    own = *message;
    transfer.parts = own.msg_iov;
    transfer.count = own.msg_iovlen;
    if (!may_wait(fd, flags, false)) {
        sent = sendmsg(fd, message, now(vp, flags));
        if (!is_to_wait(vp, &transfer, sent))
            return stiol__passed_out(fd, sent);
        if (sent > 0)
            own.msg_controllen = 0; /* it went with the first bytes */
        return stiol__move_after_all(vp, &transfer, sent);
    }
    return stiol__move_copied(vp, &transfer);
}
