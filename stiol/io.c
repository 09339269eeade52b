/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading, writing and accepting on blocking sockets, pipes and the like: tried without waiting
 * (MSG_DONTWAIT, RWF_NOWAIT), and parked for when there is nothing yet. Nonblocking descriptors and
 * files are passed through at once, and what EAGAIN says is noted. connect() and sendfile() are in
 * connect.c.
 */
#include <limits.h>

#include "stiol_int.h"

/* One call, in the form that fits all: what to read or write, and how. */
typedef struct transfer {
    int fd, flags;
    struct iovec *parts;
    size_t count;
    struct msghdr *message; /* NULL: none but the parts */
    bool in;                /* reading */
    bool whole;             /* goes on until all is there */
    bool socket;
} transfer_t;

/* --- waiting --- */

/** us from now that the socket's SO_RCVTIMEO or SO_SNDTIMEO allows. */
st_utime_t stiol__socket_timeout(int fd, int option)
{
    struct timeval limit = {0, 0};
    socklen_t length = sizeof(limit);
    int error = errno;

    if (getsockopt(fd, SOL_SOCKET, option, &limit, &length) != 0)
        errno = error;
    if (limit.tv_sec == 0 && limit.tv_usec == 0)
        return STIOL_NEVER;
    return (st_utime_t)limit.tv_sec * STIOL_SECOND + (st_utime_t)limit.tv_usec;
}

/* The VP ends, and a line for a piped logger waits for room: the logger may yet take it. Whoever
 * ends the VP has patience for a while, not for ever. */
static bool goes_on(const stiol__vp_t *vp, const transfer_t *transfer)
{
    return errno == EINTR && vp->ending && !transfer->in && !transfer->socket;
}

/* EAGAIN was seen: parks until it is worth another try. -1: the caller is to get errno. */
static int wait_for_turn(stiol__vp_t *vp, const transfer_t *transfer)
{
    st_utime_t limit = STIOL_NEVER;
    int rc;

    if ((fcntl(transfer->fd, F_GETFL) & O_NONBLOCK) != 0) { /* changed behind our back */
        stiol__fd_set_class(transfer->fd, STIOL_FD_PASS);
        errno = EAGAIN;
        return -1;
    }
    if (transfer->socket)
        limit = stiol__socket_timeout(transfer->fd, transfer->in ? SO_RCVTIMEO : SO_SNDTIMEO);
    STIOL_PARKS(vp, io);
    rc = stiol__wait_fd(transfer->fd, transfer->in ? POLLIN : POLLOUT, limit);
    if (rc == 0)
        errno = EAGAIN; /* as the socket's timeout says it */
    return rc > 0 || goes_on(vp, transfer) ? 0 : stiol__failed(vp);
}

/* --- one try --- */

static size_t length_of(const struct iovec *parts, size_t count)
{
    size_t length = 0;

    for (size_t i = 0; i < count; i++)
        length += parts[i].iov_len;
    return length;
}

static ssize_t try_socket(const transfer_t *transfer)
{
    struct msghdr own = {.msg_iov = transfer->parts, .msg_iovlen = transfer->count};
    struct msghdr *message = transfer->message != NULL ? transfer->message : &own;
    int flags = (transfer->flags & ~MSG_WAITALL) | MSG_DONTWAIT;

    message->msg_iov = transfer->parts;
    message->msg_iovlen = transfer->count;
    return transfer->in ? recvmsg(transfer->fd, message, flags)
                        : sendmsg(transfer->fd, message, flags);
}

/* At most PIPE_BUF bytes: what fits into a pipe that poll() calls writable, and goes there as one
 * piece. */
static ssize_t write_a_little(const transfer_t *transfer)
{
    const struct iovec *part = transfer->parts;

    if (length_of(transfer->parts, transfer->count) <= PIPE_BUF)
        return writev(transfer->fd, transfer->parts, (int)transfer->count);
    while (part->iov_len == 0)
        part++;
    return write(transfer->fd, part->iov_base, part->iov_len < PIPE_BUF ? part->iov_len : PIPE_BUF);
}

/* For what knows no RWF_NOWAIT (pipes before Linux 6.4): asks first. If another process is quicker
 * in between, the call waits. */
static ssize_t try_after_poll(const transfer_t *transfer)
{
    struct pollfd one = {.fd = transfer->fd, .events = transfer->in ? POLLIN : POLLOUT};
    int rc = poll(&one, 1, 0);

    if (rc == 0)
        errno = EAGAIN;
    if (rc <= 0)
        return -1;
    return transfer->in ? readv(transfer->fd, transfer->parts, (int)transfer->count)
                        : write_a_little(transfer);
}

static ssize_t try_stream(const transfer_t *transfer)
{
    ssize_t n;

    if (STIOL_OFF(STIOL_NO_NOWAIT))
        return try_after_poll(transfer);
    n = transfer->in
            ? preadv2(transfer->fd, transfer->parts, (int)transfer->count, -1, RWF_NOWAIT)
            : pwritev2(transfer->fd, transfer->parts, (int)transfer->count, -1, RWF_NOWAIT);
    if (n >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS && errno != ESPIPE && errno != EINVAL))
        return n;
    return try_after_poll(transfer);
}

/* --- the whole call --- */

/* Moves on by n bytes. */
static void advance(transfer_t *transfer, size_t n)
{
    while (transfer->count > 0 && n >= transfer->parts->iov_len) {
        n -= transfer->parts->iov_len;
        transfer->parts++;
        transfer->count--;
    }
    if (transfer->count > 0) {
        transfer->parts->iov_base = (char *)transfer->parts->iov_base + n;
        transfer->parts->iov_len -= n;
    }
}

static bool would_block(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK;
}

/** The result of a call that was passed through. Its EAGAIN is news for who waits for the
 * descriptor next: without it libst still holds it to be ready. */
ssize_t stiol__passed(int fd, ssize_t n, int events)
{
    if (STIOL_UNLIKELY(n < 0 && would_block()))
        st_fd_again(fd, events);
    return n;
}

static ssize_t passed_in(int fd, ssize_t n, int flags)
{
    /* Urgent data and errors have a queue of their own. */
    return (flags & (MSG_OOB | MSG_ERRQUEUE)) == 0 ? stiol__passed(fd, n, POLLIN | POLLRDHUP) : n;
}

static ssize_t passed_out(int fd, ssize_t n)
{
    return stiol__passed(fd, n, POLLOUT);
}

/* The parts are changed if the call goes on for several tries. */
static ssize_t move(stiol__vp_t *vp, transfer_t *transfer)
{
    size_t left = length_of(transfer->parts, transfer->count), done = 0;
    int error = errno;
    ssize_t n;

    for (;;) {
        n = transfer->socket ? try_socket(transfer) : try_stream(transfer);
        if (n < 0) {
            if (!would_block() || wait_for_turn(vp, transfer) != 0)
                break;
            continue;
        }
        done += (size_t)n;
        if (!transfer->whole || n == 0 || (size_t)n >= left)
            break;
        left -= (size_t)n;
        advance(transfer, (size_t)n);
    }
    stiol__yield();
    if (n < 0 && done == 0)
        return -1;
    errno = error;
    return (ssize_t)done;
}

#define PARTS_ON_STACK 16

/* With parts that are the caller's: a copy is changed. */
static ssize_t move_copied(stiol__vp_t *vp, transfer_t *transfer)
{
    struct iovec on_stack[PARTS_ON_STACK], *copy = on_stack;
    ssize_t n;

    if (transfer->count > PARTS_ON_STACK &&
        (copy = malloc(transfer->count * sizeof(*copy))) == NULL)
        return -1;
    memcpy(copy, transfer->parts, transfer->count * sizeof(*copy));
    transfer->parts = copy;
    n = move(vp, transfer);
    if (copy != on_stack)
        free(copy);
    return n;
}

/* Whether a blocking socket's send goes on until all is sent: a datagram is whole anyway. */
static bool is_stream(int fd)
{
    int type = SOCK_STREAM;
    socklen_t length = sizeof(type);

    (void)getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length);
    return type == SOCK_STREAM;
}

/* --- read and write --- */

/* Whether the call can wait, and how it is made. Length 0 never waits. */
static bool can_wait(transfer_t *transfer, size_t length)
{
    stiol__fd_class_t class = stiol__fd_class(transfer->fd);

    transfer->socket = class == STIOL_FD_SOCKET;
    return class != STIOL_FD_PASS && length > 0;
}

ssize_t stiol__read(int fd, void *buf, size_t n)
{
    stiol__vp_t *vp = STIOL_ENTER(io, read, fd);
    struct iovec part = {buf, n};
    transfer_t transfer = {.fd = fd, .parts = &part, .count = 1, .in = true};

    if (vp == NULL || !can_wait(&transfer, n))
        return passed_in(fd, read(fd, buf, n), 0);
    return move(vp, &transfer);
}

ssize_t stiol____read_chk(int fd, void *buf, size_t n, size_t size)
{
    return n > size ? __read_chk(fd, buf, n, size) /* which ends the process */
                    : stiol__read(fd, buf, n);
}

ssize_t stiol__write(int fd, const void *buf, size_t n)
{
    stiol__vp_t *vp = STIOL_ENTER(io, write, fd);
    struct iovec part = {(void *)(uintptr_t)buf, n};
    transfer_t transfer = {.fd = fd, .parts = &part, .count = 1, .whole = true};

    if (vp == NULL || !can_wait(&transfer, n))
        return passed_out(fd, write(fd, buf, n));
    return move(vp, &transfer);
}

static bool are_parts(const struct iovec *parts, int count)
{
    return parts != NULL && count > 0 && count <= 1024;
}

ssize_t stiol__readv(int fd, const struct iovec *parts, int count)
{
    stiol__vp_t *vp = STIOL_ENTER(io, readv, fd);
    transfer_t transfer = {
        .fd = fd, .parts = (struct iovec *)(uintptr_t)parts, .count = (size_t)count, .in = true};

    if (vp == NULL || !are_parts(parts, count) ||
        !can_wait(&transfer, length_of(parts, (size_t)count)))
        return passed_in(fd, readv(fd, parts, count), 0);
    return move(vp, &transfer);
}

static ssize_t write_with_more(int fd, const struct iovec *parts, int count)
{
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)parts,
                             .msg_iovlen = (size_t)count};

    return sendmsg(fd, &message, MSG_MORE);
}

/* What goes to nonblocking sockets in this way is whole answers and requests (libapr's
 * apr_socket_sendv()). Sent in a row, they meet a peer that is awake already: each of them that
 * comes alone costs the peer a wake, and more often than not us the CPU. */
static void send_in_a_row(const stiol__vp_t *vp)
{
    if (vp != NULL && !STIOL_OFF(STIOL_NO_ROWS))
        st_thread_yield_last();
}

ssize_t stiol__writev(int fd, const struct iovec *parts, int count)
{
    stiol__vp_t *vp = STIOL_ENTER(io, writev, fd);
    transfer_t transfer = {
        .fd = fd, .parts = (struct iovec *)(uintptr_t)parts, .count = (size_t)count, .whole = true};

    if (vp != NULL && fd == vp->more_for && count > 0)
        return passed_out(fd, write_with_more(fd, parts, count));
    if (vp == NULL || !are_parts(parts, count) ||
        !can_wait(&transfer, length_of(parts, (size_t)count))) {
        send_in_a_row(vp);
        return passed_out(fd, writev(fd, parts, count));
    }
    return move_copied(vp, &transfer);
}

/* --- sockets --- */

/* Whether it is a blocking socket, and the caller wants to wait. */
static bool is_waiting(int fd, int flags)
{
    return (flags & MSG_DONTWAIT) == 0 && stiol__fd_class(fd) == STIOL_FD_SOCKET;
}

ssize_t stiol__recvfrom(int fd, void *restrict buf, size_t n, int flags, __SOCKADDR_ARG addr,
                        socklen_t *restrict addrlen)
{
    stiol__vp_t *vp = STIOL_ENTER(io, recvfrom, fd);
    struct iovec part = {buf, n};
    struct msghdr message = {.msg_name = addr.__sockaddr__,
                             .msg_namelen = addrlen != NULL ? *addrlen : 0};
    transfer_t transfer = {.fd = fd,
                           .flags = flags,
                           .parts = &part,
                           .count = 1,
                           .message = &message,
                           .in = true,
                           .whole = (flags & MSG_WAITALL) != 0 && (flags & MSG_PEEK) == 0,
                           .socket = true};
    ssize_t got;

    if (vp == NULL || !is_waiting(fd, flags))
        return passed_in(fd, recvfrom(fd, buf, n, flags, addr, addrlen), flags);
    got = move(vp, &transfer);
    if (got >= 0 && addrlen != NULL)
        *addrlen = message.msg_namelen;
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

ssize_t stiol__recvmsg(int fd, struct msghdr *message, int flags)
{
    stiol__vp_t *vp = STIOL_ENTER(io, recvmsg, fd);
    struct msghdr own;
    transfer_t transfer = {.fd = fd, .flags = flags, .message = &own, .in = true, .socket = true};
    int error = errno;
    ssize_t got;

    if (vp == NULL || !is_waiting(fd, flags))
        return passed_in(fd, recvmsg(fd, message, flags), flags);
    do { /* a try changes lengths in the message: each has its own */
        own = *message;
        transfer.parts = own.msg_iov;
        transfer.count = own.msg_iovlen;
        got = try_socket(&transfer);
    } while (got < 0 && would_block() && wait_for_turn(vp, &transfer) == 0);
    if (got >= 0) {
        message->msg_namelen = own.msg_namelen;
        message->msg_controllen = own.msg_controllen;
        message->msg_flags = own.msg_flags;
        errno = error;
    }
    stiol__yield();
    return got;
}

ssize_t stiol__sendto(int fd, const void *buf, size_t n, int flags, __CONST_SOCKADDR_ARG addr,
                      socklen_t addrlen)
{
    stiol__vp_t *vp = STIOL_ENTER(io, sendto, fd);
    struct iovec part = {(void *)(uintptr_t)buf, n};
    struct msghdr message = {.msg_name = (void *)(uintptr_t)addr.__sockaddr__,
                             .msg_namelen = addrlen};
    transfer_t transfer = {
        .fd = fd, .flags = flags, .parts = &part, .count = 1, .message = &message, .socket = true};

    if (vp == NULL || !is_waiting(fd, flags))
        return passed_out(fd, sendto(fd, buf, n, flags, addr, addrlen));
    transfer.whole = is_stream(fd);
    return move(vp, &transfer);
}

ssize_t stiol__send(int fd, const void *buf, size_t n, int flags)
{
    return stiol__sendto(fd, buf, n, flags, (const struct sockaddr *)NULL, 0);
}

ssize_t stiol__sendmsg(int fd, const struct msghdr *message, int flags)
{
    stiol__vp_t *vp = STIOL_ENTER(io, sendmsg, fd);
    struct msghdr own;
    transfer_t transfer = {.fd = fd, .flags = flags, .message = &own, .socket = true};

    if (vp == NULL || !is_waiting(fd, flags) || message->msg_iovlen > 1024)
        return passed_out(fd, sendmsg(fd, message, flags));
    own = *message;
    transfer.parts = own.msg_iov;
    transfer.count = own.msg_iovlen;
    transfer.whole = own.msg_controllen == 0 && is_stream(fd); /* control data goes once */
    return move_copied(vp, &transfer);
}

/* --- accept --- */

/* A listening socket has no MSG_DONTWAIT: asks first, then takes. Another process that listens too
 * may be quicker. */
static int await_connection(stiol__vp_t *vp, int fd)
{
    struct pollfd one = {.fd = fd, .events = POLLIN};
    int rc;

    if (stiol__fd_class(fd) != STIOL_FD_SOCKET)
        return 0;
    rc = poll(&one, 1, 0);
    if (rc != 0)
        return 0;
    STIOL_PARKS(vp, io);
    rc = stiol__wait_fd(fd, POLLIN, stiol__socket_timeout(fd, SO_RCVTIMEO));
    if (rc == 0)
        errno = EAGAIN;
    return rc > 0 ? 0 : stiol__failed(vp);
}

/* The one that the MPM has accepted; -1: none. */
static int take_accepted(stiol__vp_t *vp, struct sockaddr *addr, socklen_t *addrlen)
{
    stiol__thread_t *self = vp != NULL ? stiol__self(vp) : NULL;
    const stiol_connection_t *connection = self != NULL ? self->accepted : NULL;

    if (connection == NULL)
        return -1;
    self->accepted = NULL;
    if (addr != NULL && addrlen != NULL) {
        memcpy(addr, connection->address,
               *addrlen < connection->length ? *addrlen : connection->length);
        *addrlen = connection->length;
    }
    return connection->osfd;
}

int stiol__accept4(int fd, __SOCKADDR_ARG addr, socklen_t *restrict addrlen, int flags)
{
    stiol__vp_t *vp = STIOL_ENTER(io, accept4, fd);
    int made_fd = take_accepted(vp, addr.__sockaddr__, addrlen);

    if (made_fd >= 0)
        return made_fd;
    if (vp != NULL && await_connection(vp, fd) != 0)
        return -1;
    made_fd = accept4(fd, addr, addrlen, flags);
    if (made_fd >= 0)
        stiol__fd_set_class(made_fd,
                            (flags & SOCK_NONBLOCK) != 0 ? STIOL_FD_PASS : STIOL_FD_SOCKET);
    if (vp != NULL)
        stiol__yield();
    return made_fd;
}

int stiol__accept(int fd, __SOCKADDR_ARG addr, socklen_t *restrict addrlen)
{
    return stiol__accept4(fd, addr, addrlen, 0);
}
