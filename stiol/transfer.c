/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries out reads and writes: tries without waiting (MSG_DONTWAIT, RWF_NOWAIT), and parks while
 * there is nothing yet. What is known about a descriptor is corrected if a call's result
 * contradicts it. Used by io.c and message.c.
 */
#include <limits.h>

#include "stiol/transfer.h"

enum {
    AT_ONCE = 1000, /* us; a shorter wait may have been none */
    NAP = 5000,     /* us; longest between tries if poll() wrongly says ready */
};

size_t stiol__length_of(const struct iovec *parts, size_t count)
{
    size_t length = 0;

    for (size_t i = 0; i < count; i++)
        length += parts[i].iov_len;
    return length;
}

ssize_t stiol__passed(int fd, ssize_t n, int events)
{
    if (STIOL_UNLIKELY(n < 0 && stiol__would_block() && stiol__mine()))
        st_fd_again(fd, events);
    return n;
}

/* EAGAIN came as expected of a nonblocking descriptor. */
bool stiol__blocks_now(int fd)
{
    int error = errno, flags = fcntl(fd, F_GETFL);
    bool blocks = flags >= 0 && (flags & O_NONBLOCK) == 0;

    if (blocks)
        stiol__fd_set_class(fd, STIOL_FD_UNKNOWN);
    errno = error;
    return blocks;
}

/* --- waiting --- */

/** The time that the socket's SO_RCVTIMEO or SO_SNDTIMEO allows, us. */
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

/* The VP is ending, and a line for a piped logger waits for room: the logger may yet read it. What
 * ends the VP waits for a while, but not forever. */
static bool goes_on(const stiol__vp_t *vp, const stiol__transfer_t *transfer)
{
    return errno == EINTR && vp->ending && !transfer->in && transfer->class == STIOL_FD_STREAM;
}

/* What is left of the time that the socket allows for the whole call. */
static st_utime_t time_left(stiol__transfer_t *transfer)
{
    if (transfer->deadline == 0)
        transfer->deadline = transfer->class == STIOL_FD_SOCKET
                                 ? stiol__deadline(stiol__socket_timeout(
                                       transfer->fd, transfer->in ? SO_RCVTIMEO : SO_SNDTIMEO))
                                 : STIOL_NEVER;
    return stiol__left(transfer->deadline);
}

/* Returns 1; 0: the time is up; or -1. What poll() says is ready need not be: whether there is room
 * for a datagram depends on the receiving socket, not on the sending one. Then it has to retry
 * after a while. */
static int wait_or_nap(stiol__transfer_t *transfer, st_utime_t left)
{
    st_utime_t begun = st_utime(), nap;
    int rc;

    if (left == 0)
        return 0;
    if (transfer->fruitless > 1) {
        nap = stiol__interval(&transfer->backoff, NAP);
        return st_usleep(nap < left ? nap : left) != 0 ? -1 : 1;
    }
    rc = stiol__wait_fd(transfer->fd, transfer->in ? POLLIN : POLLOUT, left);
    if (st_utime() - begun < AT_ONCE)
        transfer->fruitless++;
    else
        transfer->fruitless = 0;
    return rc;
}

int stiol__wait_for_turn(stiol__vp_t *vp, stiol__transfer_t *transfer)
{
    int flags = fcntl(transfer->fd, F_GETFL), rc;

    if (flags < 0)
        return -1;
    if ((flags & O_NONBLOCK) != 0) { /* changed behind our back */
        stiol__fd_set_class(transfer->fd, STIOL_FD_UNKNOWN);
        errno = EAGAIN;
        return -1;
    }
    STIOL_PARKS(vp, io);
    rc = wait_or_nap(transfer, time_left(transfer));
    if (rc == 0)
        errno = EAGAIN; /* as the socket's timeout says it */
    return rc > 0 || goes_on(vp, transfer) ? 0 : stiol__failed(vp);
}

/* --- one try --- */

static ssize_t try_socket(const stiol__transfer_t *transfer)
{
    struct msghdr own = {.msg_iov = transfer->parts, .msg_iovlen = transfer->count};
    struct msghdr *message = transfer->message ? transfer->message : &own;
    int flags = (transfer->flags & ~MSG_WAITALL) | MSG_DONTWAIT;

    if (!transfer->message && transfer->count == 1)
        return transfer->in
                   ? recv(transfer->fd, transfer->parts->iov_base, transfer->parts->iov_len, flags)
                   : send(transfer->fd, transfer->parts->iov_base, transfer->parts->iov_len, flags);
    message->msg_iov = transfer->parts;
    message->msg_iovlen = transfer->count;
    return transfer->in ? recvmsg(transfer->fd, message, flags)
                        : sendmsg(transfer->fd, message, flags);
}

/* The call itself, which may wait. */
static ssize_t do_really(const stiol__transfer_t *transfer)
{
    const struct iovec *parts = transfer->parts;
    int count = (int)transfer->count;

    if (count == 1)
        return transfer->in ? read(transfer->fd, parts->iov_base, parts->iov_len)
                            : write(transfer->fd, parts->iov_base, parts->iov_len);
    return transfer->in ? readv(transfer->fd, parts, count) : writev(transfer->fd, parts, count);
}

/* At most PIPE_BUF bytes: that fits into a pipe that poll() says is writable, and is written in one
 * piece. */
static ssize_t write_a_little(const stiol__transfer_t *transfer)
{
    const struct iovec *part = transfer->parts;

    if (stiol__length_of(transfer->parts, transfer->count) <= PIPE_BUF)
        return writev(transfer->fd, transfer->parts, (int)transfer->count);
    while (part->iov_len == 0)
        part++;
    return write(transfer->fd, part->iov_base, part->iov_len < PIPE_BUF ? part->iov_len : PIPE_BUF);
}

/* For descriptors without RWF_NOWAIT (pipes before Linux 6.4): asks first. If another process is
 * quicker, the call waits. */
static ssize_t try_after_poll(const stiol__transfer_t *transfer)
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

/* -2: RWF_NOWAIT is not supported. */
static ssize_t try_nowait(const stiol__transfer_t *transfer)
{
    const struct iovec *parts = transfer->parts;
    int count = (int)transfer->count;
    ssize_t n;

    if (STIOL_OFF(STIOL_NO_NOWAIT))
        return -2;
    n = transfer->in ? preadv2(transfer->fd, parts, count, -1, RWF_NOWAIT)
                     : pwritev2(transfer->fd, parts, count, -1, RWF_NOWAIT);
    if (n >= 0 ||
        (errno != EOPNOTSUPP && !stiol__is_refused(errno) && errno != ESPIPE && errno != EINVAL))
        return n;
    return -2;
}

static ssize_t try_once(const stiol__transfer_t *transfer)
{
    ssize_t n;

    if (transfer->class == STIOL_FD_SOCKET)
        return try_socket(transfer);
    if (transfer->class == STIOL_FD_PASS)
        return do_really(transfer);
    n = try_nowait(transfer);
    return n != -2 ? n : try_after_poll(transfer);
}

/* --- what was known is wrong --- */

/* The number now belongs to a descriptor of another kind: examines it. Returns whether that is
 * so. */
static bool learned(stiol__transfer_t *transfer)
{
    stiol__fd_class_t before = transfer->class;

    stiol__fd_set_class(transfer->fd, STIOL_FD_UNKNOWN);
    transfer->class = stiol__fd_class(transfer->fd);
    return transfer->class != before;
}

static bool is_mistaken(stiol__transfer_t *transfer)
{
    if (errno == ENOTSOCK) /* else it is the caller who takes it for one */
        return learned(transfer) && transfer->of_file;
    return transfer->of_file && stiol__would_block() && transfer->fruitless > 0 &&
           transfer->class == STIOL_FD_STREAM && learned(transfer);
}

/* --- the whole call --- */

void stiol__advance(stiol__transfer_t *transfer, size_t n)
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

static bool has_descriptors(struct msghdr *message)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
            return true;
    return false;
}

/* Control data and names are sent and received only once, with the first bytes. False: the call
 * ends with these; the kernel does not read more together with descriptors. */
static bool first_part_done(stiol__transfer_t *transfer)
{
    struct msghdr *message = transfer->message;

    if (!message || transfer->partly)
        return true;
    if (transfer->in && has_descriptors(message))
        return false;
    transfer->first = *message;
    transfer->partly = true;
    message->msg_control = NULL;
    message->msg_controllen = 0;
    if (transfer->in) {
        message->msg_name = NULL;
        message->msg_namelen = 0;
    }
    return true;
}

static int socket_option(int fd, int option, int otherwise)
{
    socklen_t length = sizeof(otherwise);
    int error = errno;

    (void)getsockopt(fd, SOL_SOCKET, option, &otherwise, &length);
    errno = error;
    return otherwise;
}

/* After a try that moved something, but not all. A datagram is whole, however short. */
static bool is_to_go_on(const stiol__transfer_t *transfer, size_t done)
{
    if (!transfer->in)
        return transfer->whole;
    if (transfer->class != STIOL_FD_SOCKET || (transfer->flags & MSG_PEEK) != 0)
        return false;
    if (!transfer->whole && (!stiol__fd_has_low_mark(transfer->fd) ||
                             done >= (size_t)socket_option(transfer->fd, SO_RCVLOWAT, 1)))
        return false;
    return socket_option(transfer->fd, SO_TYPE, SOCK_STREAM) == SOCK_STREAM;
}

ssize_t stiol__move(stiol__vp_t *vp, stiol__transfer_t *transfer)
{
    size_t left = stiol__length_of(transfer->parts, transfer->count), done = 0;
    int error = errno;
    ssize_t n;

    for (;;) {
        n = try_once(transfer);
        if (n < 0) {
            if (is_mistaken(transfer))
                continue;
            if (!stiol__would_block() || stiol__wait_for_turn(vp, transfer) != 0)
                break;
            continue;
        }
        done += (size_t)n;
        transfer->fruitless = 0;
        if (n == 0 || (size_t)n >= left || !is_to_go_on(transfer, done) ||
            !first_part_done(transfer))
            break;
        left -= (size_t)n;
        stiol__advance(transfer, (size_t)n);
    }
    stiol__yield();
    if (n < 0 && done == 0)
        return -1;
    errno = error;
    return (ssize_t)done;
}

enum { PARTS_ON_STACK = 16 };

/* With what is done already. */
static ssize_t move_rest(stiol__vp_t *vp, stiol__transfer_t *transfer, size_t done)
{
    struct iovec on_stack[PARTS_ON_STACK], *copy = on_stack;
    ssize_t n;

    if (transfer->count > PARTS_ON_STACK && !(copy = malloc(transfer->count * sizeof(*copy))))
        return -1;
    if (transfer->count > 0)
        memcpy(copy, transfer->parts, transfer->count * sizeof(*copy));
    transfer->parts = copy;
    stiol__advance(transfer, done);
    n = stiol__move(vp, transfer);
    if (copy != on_stack)
        free(copy);
    if (n < 0)
        return done > 0 ? (ssize_t)done : -1;
    return n + (ssize_t)done;
}

ssize_t stiol__move_copied(stiol__vp_t *vp, stiol__transfer_t *transfer)
{
    return move_rest(vp, transfer, 0);
}

/* --- nonblocking --- */

/** The call has moved n bytes or said EAGAIN: whether it must wait for more, because the descriptor
 * is now blocking. */
bool stiol__is_to_wait(const stiol__transfer_t *transfer, ssize_t n)
{
    if (stiol__fd_kind(transfer->fd) == STIOL_FD_NONBLOCKING)
        return false;
    if (n < 0 ? !stiol__would_block()
              : transfer->in || (size_t)n >= stiol__length_of(transfer->parts, transfer->count))
        return false;
    return stiol__blocks_now(transfer->fd);
}

ssize_t stiol__move_after_all(stiol__vp_t *vp, stiol__transfer_t *transfer, ssize_t n)
{
    transfer->class = stiol__fd_class(transfer->fd);
    return move_rest(vp, transfer, n > 0 ? (size_t)n : 0);
}

static ssize_t try_unasked(stiol__transfer_t *transfer, bool socket)
{
    ssize_t n;

    if (socket) {
        n = try_socket(transfer);
        if (n >= 0 || errno != ENOTSOCK)
            return n;
        stiol__fd_set_class(transfer->fd, STIOL_FD_UNKNOWN);
        return do_really(transfer);
    }
    n = try_nowait(transfer);
    if (n != -2)
        return n;
    stiol__fd_set_class(transfer->fd, STIOL_FD_PASS);
    return do_really(transfer);
}

ssize_t stiol__move_now(stiol__vp_t *vp, stiol__transfer_t *transfer)
{
    bool stream = stiol__fd_kind(transfer->fd) == STIOL_FD_ASYNC_STREAM;
    ssize_t n = try_unasked(transfer, !stream);

    if (STIOL_UNLIKELY(stiol__is_to_wait(transfer, n)))
        return stiol__move_after_all(vp, transfer, n);
    return stiol__passed(transfer->fd, n, transfer->in ? POLLIN | POLLRDHUP : POLLOUT);
}
